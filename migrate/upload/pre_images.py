"""Store what the target holds before the first write, so that every write can be undone.

Ids are listed first (1,000 a request); only those of them that the run writes are read (20 a
request).
Nothing is written to the target here.
"""

import operator
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from itertools import islice
from typing import NoReturn

from migrate.errors import IndeterminateError, PreconditionError
from migrate.mapping.kv_entries import key_prefix
from migrate.mapping.payload import encode_kv_key
from migrate.model.limits import FETCH_IDS_MAX
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.model.sealed_json import damaged
from migrate.model.stamps import iso_stamp
from migrate.plan.request_counts import fetch_requests
from migrate.plan.target_shape import FRESH_INDEXES
from migrate.ports import KvTarget, Target, VectorTarget
from migrate.run.files import open_files, touched_keys
from migrate.run.folder import RunFolder
from migrate.run.journal import Kind
from migrate.run.pre_image_files import (
    PRE_IMAGES_REMEDY,
    KvPreImage,
    VectorPreImage,
    write_existing_ids,
    write_kv_pre_images,
    write_vector_pre_images,
)
from migrate.runtime import Runtime
from migrate.storage.layout import EXISTING_IDS, KV_PRE_IMAGES, REMOVED, part_name
from migrate.tables.files import FileTable
from migrate.tables.target_ids import ID_COLUMNS, ListedIds
from migrate.upload.kv_index import former_entries
from migrate.upload.listing import list_keys, list_own_keys, list_vectors
from migrate.upload.removal import removed_before, whole_state
from migrate.upload.settle import spread
from migrate.words import counted
from migrate.workers.ordered import in_order
from migrate.workers.repeat import repeat_until

PART_VECTORS = 20_000
FETCH_ATTEMPTS_MAX = 5  # a listed id may be missing from one read and there in the next
FETCH_WAIT_S = 2.0


def capture_pre_images(run: RunFolder, target: Target, runtime: Runtime) -> None:
    """Capture the pre-image of every id and key the run will write; resumes after a kill.

    At most `runtime.reads_in_flight` requests for 20 vectors each are in flight at once.
    Raises PreconditionError when the target is not empty and the plan does not allow that,
    ArtefactDamagedError when pre-images stored earlier are missing or differ from the journal.
    """
    if run.state().pre_images is None:
        _capture(run, target, runtime)
    else:
        _check_kept(run)


def _check_kept(run: RunFolder) -> None:
    for name, (_, sha256) in run.state().pre_image_parts.items():
        file = run.pre_images.file(name)
        if not file.is_there() or file.hash()[1] != sha256:
            raise damaged(
                str(file),
                "does not match the journal: without these pre-images no write could be undone",
                remedy=PRE_IMAGES_REMEDY,
            )


def _capture(run: RunFolder, target: Target, runtime: Runtime) -> None:
    with ListedIds(run.spill) as listed:
        count = list_vectors(listed, target.vectors, runtime, expected=None)
        keys = _listed_keys(run, target.kv, runtime)
        if (count or keys) and not run.plan.into_non_empty and run.plan.base is None:
            _refuse_non_empty(run, count, len(keys))
        listed.match(run.targets(ID_COLUMNS, excluded=run.refused_rows()))
        _check_unlisted(run, listed, target.vectors)
        removals = _removals(run)
        others = list(listed.elsewhere())
        gone = _listed_and_gone(run, removals, others, target.vectors)
        elsewhere = [one for one in others if one not in removals and one not in gone]
        to_read = count - len(elsewhere)
        if run.written_rows is not None:
            to_read = len(listed.present_rows(0, run.plan.points) & run.written_rows)
        present = _capture_vectors(run, listed, target.vectors, to_read, runtime)
        removed = _capture_removed(run, removals.intersection(others), target.vectors, runtime)
    _journal_part(run, EXISTING_IDS, len(elsewhere), _write_existing(run, elsewhere))
    with open_files(run) as files:
        kv = list(_kv_pre_images(run, files, keys, target.kv))
    kv_sha256 = write_kv_pre_images(run.pre_images.file(KV_PRE_IMAGES), kv)
    _journal_part(run, KV_PRE_IMAGES, len(kv), kv_sha256)
    run.journal.append(
        {
            "type": Kind.PRE_IMAGES_SEALED.value,
            "vectors_present": present,
            "vectors_elsewhere": len(elsewhere),
            **({} if run.plan.base is None else {"vectors_removed": removed}),
            "kv_present": sum(record.former is not None for record in kv),
            "kv_elsewhere": sum(not record.ours for record in kv),
            "at": iso_stamp(runtime.clock.wall_s()),
        }
    )


def _removals(run: RunFolder) -> frozenset[VectorId]:
    """The ids that the run removes."""
    difference = run.difference
    return (
        frozenset()
        if difference is None
        else frozenset(one.vector_id for one in difference.removals)
    )


def _listed_and_gone(
    run: RunFolder,
    removals: AbstractSet[VectorId],
    others: Sequence[VectorId],
    target: VectorTarget,
) -> frozenset[VectorId]:
    """Ids that earlier runs of the chain removed, and that the listing shows and no read does."""
    if run.plan.base is None:
        return frozenset()
    removed, _ = removed_before(run)
    suspects = [one for one in others if one in removed and one not in removals]
    there: set[VectorId] = set()
    for some in _batches(suspects):
        there.update(target.fetch(some))
    return frozenset(suspects) - there


def _batches(ids: Sequence[VectorId]) -> Iterator[Sequence[VectorId]]:
    for start in range(0, len(ids), FETCH_IDS_MAX):
        yield ids[start : start + FETCH_IDS_MAX]


def _capture_removed(
    run: RunFolder, listed: AbstractSet[VectorId], target: VectorTarget, runtime: Runtime
) -> int:
    """Store the vectors that the run removes; return how many of them are there.

    A listing may lag behind a write, so what it leaves out is read too.
    """
    difference = run.difference
    if difference is None or not difference.removals:
        return 0
    total = len(listed)
    runtime.progress.start(
        "keeping what is removed", total=total, unit="vectors", requests=fetch_requests(total)
    )
    former = fetch_all(target, sorted(listed), runtime)
    unlisted = [one.vector_id for one in difference.removals if one.vector_id not in listed]
    for some in _batches(unlisted):
        former |= target.fetch(some)
    records = [
        VectorPreImage(row=at, vector_id=one.vector_id, former=former.get(one.vector_id))
        for at, one in enumerate(difference.removals)
    ]
    sha256 = write_vector_pre_images(run.pre_images.file(REMOVED), records)
    _journal_part(run, REMOVED, len(records), sha256)
    return len(former)


def _check_unlisted(run: RunFolder, listed: ListedIds, target: VectorTarget) -> None:
    """Read some ids that are not listed: they count as absent, and a rollback deletes them.

    Raises IndeterminateError when one of at most 20, spread over the run, can be read.
    """
    shards = run.plan.mapping.shards
    indexes = 1 if shards is None else len(shards.indexes)  # about one row of as many is the run's
    rows = frozenset(spread(run.plan.points, FETCH_IDS_MAX * indexes))
    unlisted = [
        VectorId(vector_id)
        for batch in run.targets(ID_COLUMNS, only=rows)
        for row, vector_id in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if not listed.present_rows(row, row + 1)
    ]
    unlisted = [unlisted[at] for at in spread(len(unlisted), FETCH_IDS_MAX)]
    found = sorted(target.fetch(unlisted)) if unlisted else []
    if found:
        raise IndeterminateError(
            f"the listing of vector index '{run.plan.index.name}' leaves out '{found[0]}', which "
            f"can be read by its id; so can {len(found)} of the {len(unlisted)} unlisted ids that "
            "were read",
            remedy="wait some minutes, then run the same command again: it lists again; nothing "
            "has been written",
        )


def _refuse_non_empty(run: RunFolder, vectors: int, keys: int) -> NoReturn:
    found = (
        f"vector index '{run.plan.index.name}' is not empty: it lists {counted(vectors, 'vector')}"
    )
    if not vectors:
        found = (
            f"KV namespace {run.plan.kv_target.get('kv_namespace')} is not empty: it lists {keys} "
            f"keys under '{key_prefix(run.plan.mapping)}' and '{run.plan.writes.counter_key}'"
        )
    fresh = (
        "set target.vector_index to a new name, leave target.kv_namespace_id out, run "
        "`q2v provision`, and cut over by changing the bindings"
    )
    if run.plan.mapping.shards is not None:
        fresh = (
            "`q2v reset-target` shows what of it runs of this folder have written, and empties it "
            f"with --execute; or {FRESH_INDEXES}"
        )
    raise PreconditionError(
        found,
        remedy=f"{fresh}; or pass --into-non-empty: records that are overwritten are stored first "
        "and can be restored",
    )


def _write_existing(run: RunFolder, elsewhere: list[VectorId]) -> str:
    return write_existing_ids(run.pre_images.file(EXISTING_IDS), elsewhere)


def _journal_part(run: RunFolder, name: str, rows: int, sha256: str) -> None:
    run.journal.append(
        {"type": Kind.PRE_IMAGE_PART.value, "name": name, "rows": rows, "sha256": sha256}
    )


def _capture_vectors(
    run: RunFolder, listed: ListedIds, target: VectorTarget, to_read: int, runtime: Runtime
) -> int:
    """Store pre-images part by part in row order; return how many vectors are present.

    Parts that an interrupted call has stored are not read again. Progress counts the `to_read`
    vectors that the target holds; the others need no request.
    """
    requests = fetch_requests(to_read)
    runtime.progress.start("keeping pre-images", total=to_read, unit="vectors", requests=requests)
    kept = run.state().pre_image_parts
    present = 0
    for ordinal, vectors in enumerate(_chunks(run)):
        listed_rows = listed.present_rows(vectors[0][0], vectors[-1][0] + 1)
        here = listed_rows.intersection(row for row, _ in vectors)
        present += len(here)
        file = run.pre_images.file(part_name(ordinal))
        if file.name not in kept or file.hash()[1] != kept[file.name][1]:
            former = fetch_all(
                target, [vector_id for row, vector_id in vectors if row in here], runtime
            )
            records = [
                VectorPreImage(row=row, vector_id=vector_id, former=former.get(vector_id))
                for row, vector_id in vectors
            ]
            _journal_part(run, file.name, len(records), write_vector_pre_images(file, records))
        else:
            runtime.progress.advance(len(here), earlier=True)
    return present


def _chunks(run: RunFolder) -> Iterator[list[tuple[int, VectorId]]]:
    """(row, id) of every vector of the run, in row order, a part at a time."""
    vectors = (
        (row, VectorId(vector_id))
        for batch in run.targets(ID_COLUMNS, excluded=run.refused_rows(), only=run.written_rows)
        for row, vector_id in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    while chunk := list(islice(vectors, PART_VECTORS)):
        yield chunk


def fetch_all(
    target: VectorTarget, vector_ids: list[VectorId], runtime: Runtime
) -> dict[VectorId, Vector]:
    """Read all of these listed vectors. Raises IndeterminateError when one cannot be read.

    Reads may be stale, so an id that is listed but missing from the answer is requested again.
    """
    found: dict[VectorId, Vector] = {}

    def fetch_absent() -> list[VectorId]:
        wanted = [vector_id for vector_id in vector_ids if vector_id not in found]
        with closing(
            in_order(target.fetch, _batches(wanted), width=runtime.reads_in_flight)
        ) as answers:
            for _, vectors in answers:
                found.update(vectors)
                runtime.progress.advance(len(vectors))
        return [vector_id for vector_id in wanted if vector_id not in found]

    pauses_s = [FETCH_WAIT_S] * (FETCH_ATTEMPTS_MAX - 1)
    absent = repeat_until(fetch_absent, operator.not_, pauses_s, clock=runtime.clock)
    if not absent:
        return found
    raise IndeterminateError(
        f"{len(absent)} listed vectors cannot be read, among them '{absent[0]}'",
        remedy="stop other writers to the index, then run the same command again",
    )


def _listed_keys(run: RunFolder, target: KvTarget, runtime: Runtime) -> dict[str, KvEntry]:
    """Keys that the namespace lists under the run's prefix, and the counter if listed."""
    plan = run.plan
    counter = plan.writes.counter_key
    entries = list_own_keys(target, plan, runtime)
    listed = {entry.key: entry for entry in entries}
    for entry in list_keys(target, counter, runtime):
        if entry.key == counter:
            listed[counter] = entry
    return listed


def _kv_pre_images(
    run: RunFolder, files: FileTable, listed: dict[str, KvEntry], target: KvTarget
) -> Iterator[KvPreImage]:
    """Every key that the run writes, the counter too, then the other keys under its prefix.

    Only listed keys are read: reading an absent key makes the service answer "absent" for a
    minute or more (docs/services.md).
    """
    expected = [encode_kv_key(file.file, run.plan.mapping) for file in files.files()]
    touched = touched_keys(run)
    ours = expected if touched is None else [key for key in expected if key in touched.written]
    ours += [] if touched is None else touched.removed
    ours.append(run.plan.writes.counter_key)
    known = former_entries(run, frozenset(ours))
    values = target.read([key for key in ours if key in listed])
    for key in ours:
        former = _former(key, values, listed)
        if former is not None:
            former = whole_state(former, known.get(key, ()))
        yield KvPreImage(key=key, ours=True, former=former)
    # KV may list a key for a minute after its removal. It is not another writer's then.
    removed = removed_before(run)[1]
    for key in sorted(listed.keys() - {*ours, *expected, *removed}):
        yield KvPreImage(key=key, ours=False, former=None)


def _former(key: str, values: dict[str, KvEntry], listed: dict[str, KvEntry]) -> KvEntry | None:
    value = values.get(key)
    if value is None:
        if key in listed:
            raise IndeterminateError(
                f"KV key '{key}' is listed but cannot be read",
                remedy="wait a minute (KV is eventually consistent), then run the command again",
            )
        return None
    return KvEntry(
        key=key, value=value.value, metadata=value.metadata, expiration=listed[key].expiration
    )
