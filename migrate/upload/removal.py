"""Remove the vectors that a catch-up no longer wants, after no KV entry names them any more.

A vector that another writer has changed since the base run wrote it is kept. A read may be stale
and show what was there before an earlier run of the chain: such a state is not another writer's.
Each request has an intent in the journal before it is sent and an ack after the answer; deleting
again is harmless.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, closing, contextmanager
from itertools import chain

from migrate.mapping.kv_entries import decode_file_value
from migrate.model.canonical import encode_canonical_json
from migrate.model.digest import digest_vector
from migrate.model.limits import DELETE_IDS_MAX, FETCH_IDS_MAX
from migrate.model.records import Accepted, KvEntry, VectorId
from migrate.model.sealed_json import damaged
from migrate.ports import VectorTarget
from migrate.run.choose.chain import open_base
from migrate.run.files import touched_keys
from migrate.run.folder import RunFolder
from migrate.run.journal import FULL, Kind, RoundState, Store
from migrate.run.pre_image_files import (
    VectorPreImage,
    read_kv_pre_images,
    read_vector_pre_images,
)
from migrate.run.refused_vectors import read_pre_images, unwritten_rows
from migrate.runtime import Runtime
from migrate.storage.layout import KV_PRE_IMAGES, REMOVED
from migrate.upload.settle import LastWrite, SettleRules, wait_until_processed


@contextmanager
def open_older(run: RunFolder) -> Iterator[list[RunFolder]]:
    """The runs that this one continues from, the newest first; closes them."""
    with ExitStack() as stack:
        older: list[RunFolder] = []
        while (base := open_base(older[-1] if older else run)) is not None:
            stack.callback(base.close)
            older.append(base)
        yield older


def read_removed(run: RunFolder) -> Iterator[tuple[VectorPreImage, bytes]]:
    """What a catch-up removes: its pre-image, and its digest as the base wrote it."""
    difference = run.difference
    if difference is None or not difference.removals:
        return
    sha256 = run.state().pre_image_parts[REMOVED][1]
    records = read_vector_pre_images(run.pre_images.file(REMOVED), sha256)
    yield from zip(records, (one.digest for one in difference.removals), strict=True)


def former_digests(
    runs: Sequence[RunFolder], ids: AbstractSet[VectorId]
) -> defaultdict[VectorId, set[bytes]]:
    """Id -> digest of every state that one of these runs has left or found, for these ids."""
    known: defaultdict[VectorId, set[bytes]] = defaultdict(set)
    for run in runs:
        for batch in run.targets(["vector_id", "digest"]):
            columns = (column.to_pylist() for column in batch.columns)
            for vector_id, digest in zip(*columns, strict=True):
                if vector_id in ids:
                    known[vector_id].add(digest)
        for record in chain(read_pre_images(run), (one for one, _ in read_removed(run))):
            if record.former is not None and record.vector_id in ids:
                known[record.vector_id].add(digest_vector(record.former))
    return known


def whole_state(shown: KvEntry, known: Sequence[KvEntry]) -> KvEntry:
    """The entry, with the expiration that belongs to its value.

    The value comes from a read and the expiration from a listing. Of a key that was written lately
    one may show a former state and the other a newer one. The two together were never there.
    """
    states = [one for one in known if (one.value, one.metadata) == (shown.value, shown.metadata)]
    expirations = {one.expiration for one in known}
    if not states or shown.expiration in {one.expiration for one in states}:
        return shown
    return states[0] if shown.expiration in expirations else shown


def left_by_refusals(run: RunFolder) -> dict[VectorId, bytes]:
    """Vectors of earlier runs that the index keeps: the target refused what was to replace them.

    Id -> digest as an earlier run wrote it. What another writer had put there is not among them.
    """
    state = run.state()
    refused, unwritten = run.refused_rows(), unwritten_rows(run)
    found = {
        VectorId(vector_id): digest
        for batch in run.targets(["vector_id", "digest"], only=refused - unwritten)
        for vector_id, digest in zip(*(each.to_pylist() for each in batch.columns), strict=True)
    }
    base = open_base(run) if unwritten and state.pre_images is not None else None
    if base is None:
        return found
    former = {
        record.vector_id: digest_vector(record.former)
        for record in read_pre_images(run)
        if record.row in unwritten and record.former is not None
    }
    with closing(base):
        ours = left_by_refusals(base)
        for batch in base.targets(["vector_id", "digest"], excluded=base.refused_rows()):
            columns = (each.to_pylist() for each in batch.columns)
            ours.update(
                (one, digest) for one, digest in zip(*columns, strict=True) if one in former
            )
    left = {one: digest for one, digest in former.items() if ours.get(one) == digest}
    return found | left


def kept_removals(run: RunFolder) -> list[VectorId]:
    """Ids that are no longer wanted and are kept: another writer has changed their vectors.

    A state that an earlier run of the chain has left or found is not another writer's: the read
    that showed it was stale.
    """
    changed = {
        record.vector_id: found
        for record, digest in read_removed(run)
        if record.former is not None and (found := digest_vector(record.former)) != digest
    }
    if not changed:
        return []
    with open_older(run) as older:
        known = former_digests(older, changed.keys())
    return [one for one, digest in changed.items() if digest not in known[one]]


def removed_before(run: RunFolder) -> tuple[frozenset[VectorId], frozenset[str]]:
    """Ids and KV keys that the runs before this one have removed."""
    ids: set[VectorId] = set()
    keys: set[str] = set()
    with open_older(run) as older:
        for base in older:
            ids.update(record.vector_id for record, _ in read_removed(base))
            ids.difference_update(kept_removals(base))
            keys.update(removed_keys(base))
    return frozenset(ids), frozenset(keys)


def removed_keys(run: RunFolder) -> list[str]:
    """The KV keys that a catch-up removes: of files without a vector in the source.

    A key stays while all vectors that it names are kept: it is then another writer's, such as the
    run of a tenant that the file belongs to now.
    """
    touched = touched_keys(run)
    if touched is None or not touched.removed:
        return []
    kept = frozenset(kept_removals(run))
    if not kept:
        return list(touched.removed)
    sha256 = run.state().pre_image_parts[KV_PRE_IMAGES][1]
    records = read_kv_pre_images(run.pre_images.file(KV_PRE_IMAGES), sha256)
    stays = {record.key for record in records if _names_only(record.former, kept)}
    return [key for key in touched.removed if key not in stays]


def _names_only(entry: KvEntry | None, ids: AbstractSet[VectorId]) -> bool:
    """Whether an entry names vectors, and none but these."""
    named = None if entry is None else decode_file_value(entry.value)
    return named is not None and bool(named) and all(one in ids for one in named)


def remove_vectors(
    run: RunFolder, target: VectorTarget, rules: SettleRules, runtime: Runtime
) -> int:
    """Remove what the catch-up no longer wants, and wait until it is gone; returns the number.

    Only in the first round of a run. Resumes where an earlier call ended. Raises IndeterminateError
    when the removals do not become visible in time.
    """
    current = run.state().rounds[-1]
    kept = frozenset(kept_removals(run))
    ids = [
        record.vector_id
        for record, _ in read_removed(run)
        if record.former is not None and record.vector_id not in kept
    ]
    if current.kind != FULL or current.completed or not ids:
        return 0
    runtime.progress.start("removing vectors", total=len(ids), unit="vectors")
    for ordinal, first in enumerate(range(0, len(ids), DELETE_IDS_MAX)):
        some = ids[first : first + DELETE_IDS_MAX]
        earlier = _is_acknowledged(run, ordinal)
        if not earlier:
            runtime.stop.check()
            _append_intent(run, current, ordinal, first, some)
            _append_ack(run, current, ordinal, target.delete(some))
        runtime.progress.advance(len(some), earlier=earlier)
    batch = run.state().rounds[-1].batches[Store.REMOVED][-1]
    last = LastWrite(mutation_id=batch.mutation_id, server_date=batch.server_date, vectors=len(ids))
    evidence = dict.fromkeys(ids[-FETCH_IDS_MAX:])
    wait_until_processed(target, last, evidence, rules, runtime)
    return len(ids)


def _is_acknowledged(run: RunFolder, ordinal: int) -> bool:
    known = run.state().rounds[-1].batches[Store.REMOVED]
    return ordinal < len(known) and known[ordinal].acknowledged


def _append_intent(
    run: RunFolder, current: RoundState, ordinal: int, first: int, ids: Sequence[VectorId]
) -> None:
    known = run.state().rounds[-1].batches[Store.REMOVED]
    sha256 = hashlib.sha256(encode_canonical_json(list(ids))).hexdigest()
    if ordinal < len(known):
        if known[ordinal].sha256 != sha256:
            raise damaged(str(run.folder), f"removal {ordinal} no longer matches its intent")
        return
    run.journal.append(
        {
            "type": Kind.INTENT.value,
            "round": current.ordinal,
            "store": Store.REMOVED.value,
            "batch": ordinal,
            "first": first,
            "end": first + len(ids),
            "count": len(ids),
            "bytes": 0,
            "sha256": sha256,
        }
    )


def _append_ack(run: RunFolder, current: RoundState, ordinal: int, accepted: Accepted) -> None:
    run.journal.append(
        {
            "type": Kind.ACK.value,
            "round": current.ordinal,
            "store": Store.REMOVED.value,
            "batch": ordinal,
            "mutation_id": accepted.mutation_id,
            "server_date": accepted.server_date,
        }
    )
