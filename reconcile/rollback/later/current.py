"""Whether an export is still what the target holds, asked before a rollback begins.

Added ids and the contents that were exported are compared, and every KV entry of a file. A change
in place of a vector that was not exported is not looked for: it takes as long as the rollback,
which finds it itself and keeps it as a conflict.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from migrate.model.digest import digest_vector
from migrate.model.limits import FETCH_IDS_MAX
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.plan.request_counts import fetch_requests
from migrate.ports import Target, VectorTarget
from migrate.run.folder import RunFolder
from migrate.run.pre_image_files import read_kv_pre_images
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.layout import KV_PRE_IMAGES
from migrate.words import subject
from migrate.workers.ordered import in_order
from migrate.workers.repeat import doubling, refine_until
from reconcile.differences import entry_differences
from reconcile.rollback.later.entries import LaterEntry, find_later_entries
from reconcile.rollback.later.find import LaterWrites, is_untouched
from reconcile.rollback.later.index_file import LaterVector, file_of, read_index
from reconcile.rollback.later.points import ADDED, DELETED
from reconcile.rollback.report import FEW_CANDIDATES, PASSES_MAX, UndoRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Newer:
    """What an export does not hold as the target does now."""

    vectors: tuple[str, ...]
    keys: tuple[str, ...]

    def __len__(self) -> int:
        """Number of ids and keys together."""
        return len(self.vectors) + len(self.keys)


def find_newer(
    export: Snapshot,
    runs: Sequence[RunFolder],
    later: LaterWrites,
    target: Target,
    *,
    rules: UndoRules,
    runtime: Runtime,
) -> Newer:
    """Compare the target with a sealed export of its later writes; `later` was listed just now.

    What differs is read again, after pauses. Raises ArtefactDamagedError for a changed export.
    """
    export.check_files()
    vectors = list(read_index(export))
    exported = [one for one in vectors if one.change != DELETED]
    known = frozenset(one.vector_id for one in vectors)
    unknown = [one for one in later.vectors if one not in known]
    # A rollback that has begun puts the former contents back over forced conflicts.
    is_compared = is_untouched(runs)
    differing = _differing(
        [one for one in exported if is_compared or one.change == ADDED],
        target.vectors,
        runtime,
        pause_s=rules.pause_s,
    )
    gone = [one for one in later.deleted or () if one not in known]
    held = {one.key: one for one in read_exported_entries(export)}
    entries = find_later_entries(
        runs,
        target.kv,
        runtime,
        settle_s=rules.kv_settle_s,
        expects=lambda found: not any(_newer_keys(held, found)),
    )
    return Newer(
        vectors=tuple(sorted({*unknown, *differing, *_still_gone(gone, target.vectors)})),
        keys=tuple(sorted(_newer_keys(held, entries))),
    )


def _still_gone(ids: Sequence[VectorId], target: VectorTarget) -> list[VectorId]:
    """Those of the unlisted ids that cannot be read either; of many, all."""
    if len(ids) > FEW_CANDIDATES:
        return list(ids)
    found: set[VectorId] = set()
    for start in range(0, len(ids), FETCH_IDS_MAX):
        found |= target.fetch(ids[start : start + FETCH_IDS_MAX]).keys()
    return [one for one in ids if one not in found]


def _differing(
    exported: Sequence[LaterVector], target: VectorTarget, runtime: Runtime, *, pause_s: float
) -> list[VectorId]:
    """Ids whose vector is not the one that was exported, or is absent."""

    def compare(some: Sequence[LaterVector], what: str) -> list[LaterVector]:
        total = len(some)
        runtime.progress.start(what, total=total, unit="vectors", requests=fetch_requests(total))
        batches = _chunks(some)
        reads = in_order(
            lambda batch: target.fetch([one.vector_id for one in batch]),
            batches,
            width=runtime.reads_in_flight,
        )
        found: list[LaterVector] = []
        with closing(reads):
            for batch, vectors in reads:
                found += [one for one in batch if not _is_same(one, vectors.get(one.vector_id))]
                runtime.progress.advance(len(batch))
        return found

    differing = refine_until(
        lambda: compare(exported, "comparing the export"),
        lambda found: compare(found, "comparing the export again"),
        lambda _, found: not found or len(found) > FEW_CANDIDATES,
        doubling(pause_s, times=PASSES_MAX - 1),
        clock=runtime.clock,
        before_pause=lambda found, pause_s: runtime.progress.say(
            f"{subject(len(found), 'vector', 'is')} not as exported: reading again in "
            f"{pause_s:.0f} s"
        ),
    )
    return [one.vector_id for one in differing]


def _is_same(exported: LaterVector, found: Vector | None) -> bool:
    return found is not None and digest_vector(found) == exported.digest


def _chunks(some: Iterable[LaterVector]) -> Iterator[list[LaterVector]]:
    pending = iter(some)
    while chunk := list(islice(pending, FETCH_IDS_MAX)):
        yield chunk


def _newer_keys(exported: Mapping[str, LaterEntry], entries: Sequence[LaterEntry]) -> Iterator[str]:
    """Keys whose entry is neither that of the run nor the exported one."""
    now = {one.key: one.former for one in entries}
    for key, entry in now.items():
        if key not in exported or not _is_equal(exported[key].former, entry):
            yield key
    # A key of the run that is as the run left it, or found it, holds nothing that could be lost.
    for key, one in exported.items():
        if key not in now and not one.ours:
            yield key


def read_exported_entries(export: Snapshot) -> Iterator[LaterEntry]:
    """The KV entries of a sealed export, by key. Raises ArtefactDamagedError."""
    record = file_of(export, KV_PRE_IMAGES)
    return read_kv_pre_images(export.folder.file(KV_PRE_IMAGES), record.sha256)


def _is_equal(one: KvEntry | None, other: KvEntry | None) -> bool:
    if one is None or other is None:
        return one is other
    return not entry_differences(one, other)
