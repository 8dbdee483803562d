"""Remove the vectors that a catch-up no longer wants, after no KV entry names them any more.

A vector that another writer has changed since the base run wrote it is kept. Each request has an
intent in the journal before it is sent and an ack after the answer; deleting again is harmless.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing

from migrate.model.canonical import encode_canonical_json
from migrate.model.limits import DELETE_IDS_MAX, FETCH_IDS_MAX
from migrate.model.records import Accepted, VectorId
from migrate.model.sealed_json import damaged
from migrate.ports import VectorTarget
from migrate.run.choose import open_base
from migrate.run.folder import RunFolder
from migrate.run.journal import FULL, Kind, RoundState, Store
from migrate.run.pre_image_files import VectorPreImage, read_vector_pre_images
from migrate.run.refused_vectors import read_pre_images, unwritten_rows
from migrate.runtime import Runtime
from migrate.storage.layout import REMOVED
from migrate.upload.settle import LastWrite, SettleRules, digest_vector, wait_until_processed


def read_removed(run: RunFolder) -> Iterator[tuple[VectorPreImage, bytes]]:
    """What a catch-up removes: its pre-image, and its digest as the base wrote it."""
    difference = run.difference
    if difference is None or not difference.removals:
        return
    sha256 = run.state().pre_image_parts[REMOVED][1]
    records = read_vector_pre_images(run.pre_images.file(REMOVED), sha256)
    yield from zip(records, (one.digest for one in difference.removals), strict=True)


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
    """Ids that are no longer wanted and are kept: another writer has changed their vectors."""
    return [
        record.vector_id
        for record, digest in read_removed(run)
        if record.former is not None and digest_vector(record.former) != digest
    ]


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
