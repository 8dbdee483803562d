"""Read the vector index and compare it with what the run should have made of it.

Ids always in full, by one listing walk; contents in full or for a seeded sample, by id. A
difference counts only when it is still there on a later look: single reads may be stale.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from migrate.adapters.id_table import IdTable
from migrate.adapters.pre_image_files import EXISTING_FILE, read_existing_ids
from migrate.adapters.run_folder import PRE_IMAGES, RunFolder
from migrate.core.digest import digest_vectors
from migrate.core.limits import FETCH_IDS_MAX
from migrate.core.model import Vector, VectorId
from migrate.ports import Clock, Progress, VectorTarget
from migrate.stages.listing import list_vectors
from migrate.stages.mapped import read_mapped
from migrate.stages.refused import former_of_refused
from migrate.stages.settle import digest_vector
from reconcile.diff import DriftKind, diff_contents

LOOKS_MAX = 4  # how often a difference is looked at before it counts


@dataclass(slots=True)
class VectorScan:
    """What the vector index holds, compared with what it should hold."""

    listed: int = 0
    expected: int = 0
    missing: dict[VectorId, int] = field(default_factory=dict)  # id -> row
    extra: list[VectorId] = field(default_factory=list)
    mismatched: list[VectorId] = field(default_factory=list)
    unreadable: list[VectorId] = field(default_factory=list)
    checked: int = 0  # vectors whose content was compared


def scan_ids(
    run: RunFolder,
    table: IdTable,
    target: VectorTarget,
    *,
    pause_s: float,
    clock: Clock,
    progress: Progress,
) -> VectorScan:
    """Compare the listed ids with the expected ones; `table` holds the run's ids.

    With differences, lists again after a pause until two walks in a row say the same.
    """
    progress.start("listing vectors", total=None, unit="walks")
    existing = frozenset(_existing(run))
    scan = _list_once(table, target, existing, clock=clock, progress=progress)
    for _ in range(LOOKS_MAX - 1):
        if not scan.missing and not scan.extra:
            break
        progress.say(
            f"{len(scan.missing)} vectors missing, {len(scan.extra)} extra at first sight: "
            f"listing again in {pause_s:.0f} s"
        )
        clock.wait(pause_s)
        before, scan = scan, _list_once(table, target, existing, clock=clock, progress=progress)
        if (before.missing, before.extra) == (scan.missing, scan.extra):
            break
    return scan


def _existing(run: RunFolder) -> Iterator[VectorId]:
    """Ids that were there before the run and are none of ours: not drift."""
    sha256 = run.state().pre_image_parts[EXISTING_FILE][1]
    yield from read_existing_ids(run.path / PRE_IMAGES / EXISTING_FILE, sha256)
    yield from former_of_refused(run)


def _list_once(
    table: IdTable,
    target: VectorTarget,
    existing: frozenset[VectorId],
    *,
    clock: Clock,
    progress: Progress,
) -> VectorScan:
    listed = list_vectors(table, target, clock=clock, progress=progress)
    progress.advance(1)
    return VectorScan(
        listed=listed,
        expected=table.count_vectors() + len(existing),
        missing={vector_id: row for row, vector_id in table.missing()},
        extra=[vector_id for vector_id in table.elsewhere() if vector_id not in existing],
    )


def scan_contents(
    run: RunFolder,
    scan: VectorScan,
    target: VectorTarget,
    *,
    only_rows: frozenset[int] | None,
    pause_s: float,
    clock: Clock,
    progress: Progress,
) -> None:
    """Compare the contents of every listed vector of the run, or of some rows; fills `scan`."""
    total = run.vectors if only_rows is None else len(only_rows)
    progress.start("reading vectors back", total=total, unit="vectors")
    suspects: dict[VectorId, bytes] = {}
    kinds: dict[VectorId, DriftKind] = {}
    for expected in _expected(run, only_rows, frozenset(scan.missing)):
        kinds.update(_compare(target, expected, progress))
        suspects.update({key: expected[key] for key in expected if key in kinds})
        scan.checked += len(expected)
    for _ in range(LOOKS_MAX - 1):
        if not suspects:
            break
        progress.say(f"{len(suspects)} vectors differ at first sight: reading them again")
        clock.wait(pause_s)
        before, kinds = kinds, _compare_all(target, suspects, progress)
        suspects = {key: digest for key, digest in suspects.items() if key in kinds}
        if kinds == before:
            break
    scan.mismatched = _keys(kinds, DriftKind.MISMATCHED)
    scan.unreadable = _keys(kinds, DriftKind.UNREADABLE)


def _keys(kinds: dict[VectorId, DriftKind], kind: DriftKind) -> list[VectorId]:
    return [key for key, one in kinds.items() if one is kind]


def _expected(
    run: RunFolder, only_rows: frozenset[int] | None, missing: frozenset[VectorId]
) -> Iterator[dict[VectorId, bytes]]:
    """Id and digest of what should be there, at most 20 at a time, without the missing ones."""
    held: dict[VectorId, bytes] = {}
    for rows in read_mapped(
        run.snapshot, run.plan.mapping, run.plan.values, run.excluded_rows(), only_rows=only_rows
    ):
        assert rows.values is not None
        digests = digest_vectors(rows.ids, rows.values, rows.metadata)
        for vector_id, digest in zip(rows.ids, digests, strict=True):
            if vector_id not in missing:
                held[vector_id] = digest
            if len(held) == FETCH_IDS_MAX:
                yield held
                held = {}
    if held:
        yield held


def _compare_all(
    target: VectorTarget, expected: dict[VectorId, bytes], progress: Progress
) -> dict[VectorId, DriftKind]:
    kinds: dict[VectorId, DriftKind] = {}
    keys = list(expected)
    for start in range(0, len(keys), FETCH_IDS_MAX):
        some = {key: expected[key] for key in keys[start : start + FETCH_IDS_MAX]}
        kinds.update(_compare(target, some, progress))
    return kinds


def _compare(
    target: VectorTarget, expected: dict[VectorId, bytes], progress: Progress
) -> dict[VectorId, DriftKind]:
    found = target.fetch(list(expected))
    progress.advance(len(expected))
    return diff_contents(expected, dict(_digests(found.values())))


def _digests(vectors: Iterable[Vector]) -> Iterator[tuple[VectorId, bytes]]:
    """A vector in a namespace is never one of ours, whatever it holds."""
    for vector in vectors:
        yield vector.id, b"other namespace" if vector.namespace else digest_vector(vector)
