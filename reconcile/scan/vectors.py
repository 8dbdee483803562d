"""Read the vector index and compare it with what the run should have made of it.

Ids always in full, by one listing walk; contents in full or for a seeded sample, by id. A
difference counts only when it is still there on a later look: single reads may be stale.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from migrate.model.limits import FETCH_IDS_MAX
from migrate.model.records import Vector, VectorId
from migrate.plan.request_counts import fetch_requests
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.tables.target_ids import ID_COLUMNS, ListedIds
from migrate.upload.listing import list_vectors
from migrate.upload.settle import digest_vector, spread
from migrate.workers.ordered import in_order
from migrate.workers.repeat import refine_until
from reconcile.diff import DriftKind, diff_contents
from reconcile.differences import Named
from reconcile.naming import name_vector_differences
from reconcile.rollback.manifest import read_existing
from reconcile.session import Kind, Look
from reconcile.session_folder import Attempt

LOOKS_MAX = 4  # how often a difference is looked at before it counts
# So many can be read again at every look; with more, two looks in a row that agree are enough:
# a stale read is rare, and many at once are none.
FEW_SUSPECTS = 1_000
REQUESTS_PER_NOTE = 50  # what a kill costs at most, 17 s at the default budget


@dataclass(frozen=True, slots=True, kw_only=True)
class IdScan:
    """The ids that the vector index lists, compared with those it should list."""

    listed: int
    expected: int
    missing: tuple[str, ...]  # in row order
    extra: tuple[str, ...]
    unlisted: tuple[str, ...] = ()  # left out by the listing, and given out by id


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentScan:
    """The contents of listed vectors, compared with what they should be."""

    checked: int  # vectors
    mismatched: tuple[str, ...]  # in row order
    unreadable: tuple[str, ...]
    foreign: tuple[str, ...]  # of the mismatched, those in a namespace: q2v never writes one
    differs: Named  # what differs, of the first of the mismatched


def scan_ids(run: RunFolder, target: VectorTarget, runtime: Runtime, *, pause_s: float) -> IdScan:
    """Compare the listed ids with the expected ones.

    With differences, lists again after a pause until two walks in a row say the same. Ids that are
    not listed are asked for, at most 1,000 of them: one that can be read contradicts the listing.
    """
    existing = frozenset(read_existing(run))

    def list_once() -> IdScan:
        expected = run.vectors + len(existing)
        count = list_vectors(listed, target, runtime, expected=expected)
        listed.compare(run.targets(ID_COLUMNS, excluded=run.refused_rows()))
        missing = [vector_id for _, vector_id in listed.missing()]
        unlisted = _read_though_unlisted(target, missing)
        return IdScan(
            listed=count,
            expected=expected,
            missing=tuple(one for one in missing if one not in unlisted),
            extra=tuple(one for one in listed.elsewhere() if one not in existing),
            unlisted=tuple(one for one in missing if one in unlisted),
        )

    with ListedIds(run.spill) as listed:
        return refine_until(
            list_once,
            lambda _: list_once(),
            _is_settled,
            [pause_s] * (LOOKS_MAX - 1),
            clock=runtime.clock,
            before_pause=lambda scan, _: runtime.progress.say(
                f"{len(scan.missing)} vectors missing, {len(scan.extra)} extra, "
                f"{len(scan.unlisted)} readable but not listed in the first listing: listing again "
                f"in {pause_s:.0f} s"
            ),
        )


def _is_settled(before: IdScan | None, scan: IdScan) -> bool:
    """Whether another listing is not needed: nothing differs, or two in a row agree.

    An id that can be read and is not listed may be a lagging listing, so every listing is taken.
    """
    if scan.unlisted:
        return False
    if not scan.missing and not scan.extra:
        return True
    return before is not None and (before.missing, before.extra) == (scan.missing, scan.extra)


def _read_though_unlisted(target: VectorTarget, missing: list[VectorId]) -> frozenset[str]:
    """Those of the ids, or of a spread of 1,000 of them, that the target gives out."""
    asked = [missing[at] for at in spread(len(missing), FEW_SUSPECTS)]
    found: set[str] = set()
    for start in range(0, len(asked), FETCH_IDS_MAX):
        found |= target.fetch(asked[start : start + FETCH_IDS_MAX]).keys()
    return frozenset(found)


def scan_contents(
    run: RunFolder,
    attempt: Attempt,
    target: VectorTarget,
    runtime: Runtime,
    *,
    missing: frozenset[str],
    only_rows: frozenset[int] | None,
    pause_s: float,
) -> ContentScan:
    """Compare the contents of every vector of the run but the `missing`, or of some rows.

    Goes on where the attempt ended. What differs is looked at again, after growing pauses: one
    stale read may be followed by another, so a few differences have to last through every look.
    """
    total = run.vectors if only_rows is None else len(only_rows)
    requests = fetch_requests(total)
    runtime.progress.start("reading vectors back", total=total, unit="vectors", requests=requests)
    rows = only_rows
    suspects: dict[int, DriftKind] = {}
    look = Look()
    for ordinal in range(LOOKS_MAX):
        if ordinal and not attempt.look(ordinal).completed:
            runtime.progress.say(
                f"{len(suspects)} vectors differ at first sight: reading them again"
            )
            runtime.clock.wait(pause_s * 2 ** (ordinal - 1))
        look = _look(run, attempt, ordinal, target, runtime, only_rows=rows, missing=missing)
        before, suspects = suspects, look.suspects
        agreed = ordinal > 0 and suspects == before
        if not suspects or (agreed and len(suspects) > FEW_SUSPECTS):
            break
        rows = frozenset(suspects)
    ids = _ids_of(run, suspects)
    mismatched = [row for row, kind in suspects.items() if kind is DriftKind.MISMATCHED]
    in_namespace = {} if not suspects else dict.fromkeys(look.foreign, DriftKind.MISMATCHED)
    return ContentScan(
        checked=attempt.look(0).checked,
        mismatched=_of_kind(suspects, ids, DriftKind.MISMATCHED),
        unreadable=_of_kind(suspects, ids, DriftKind.UNREADABLE),
        foreign=_of_kind(in_namespace, ids, DriftKind.MISMATCHED),
        differs=name_vector_differences(run, target, mismatched, runtime.progress),
    )


def _of_kind(
    suspects: dict[int, DriftKind], ids: dict[int, VectorId], kind: DriftKind
) -> tuple[str, ...]:
    return tuple(ids[row] for row in sorted(suspects) if suspects[row] is kind)


def _ids_of(run: RunFolder, suspects: dict[int, DriftKind]) -> dict[int, VectorId]:
    """The ids of some rows."""
    if not suspects:
        return {}
    return {
        row: VectorId(vector_id)
        for batch in run.targets(ID_COLUMNS, only=suspects.keys())
        for row, vector_id in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    }


@dataclass(frozen=True, slots=True)
class _Expected:
    """One vector as it should read back."""

    row: int
    id: VectorId
    digest: bytes


def _look(
    run: RunFolder,
    attempt: Attempt,
    ordinal: int,
    target: VectorTarget,
    runtime: Runtime,
    *,
    only_rows: frozenset[int] | None,
    missing: frozenset[str],
) -> Look:
    """One pass over these rows, from where it stood; noted every few requests.

    Several requests may be under way; their answers are taken in row order, so that a note
    stands for every row below it.
    """
    done = attempt.look(ordinal)
    runtime.progress.advance(done.checked, earlier=True)
    if done.completed:
        return done
    news = Look(end_row=done.end_row)
    batches = _expected(run, only_rows, missing, first_row=done.end_row)

    def fetch(batch: list[_Expected]) -> dict[VectorId, Vector]:
        return target.fetch([one.id for one in batch])

    with closing(in_order(fetch, batches, width=runtime.reads_in_flight)) as answers:
        for requests, (batch, found) in enumerate(answers, start=1):
            _compare(batch, found, news)
            runtime.progress.advance(len(batch))
            if requests % REQUESTS_PER_NOTE == 0:
                _note(attempt, ordinal, news, completed=False)
                news = Look(end_row=news.end_row)
    _note(attempt, ordinal, news, completed=True)
    return attempt.look(ordinal)


def _note(attempt: Attempt, ordinal: int, news: Look, *, completed: bool) -> None:
    attempt.note(
        Kind.CONTENTS_READ,
        look=ordinal,
        end_row=news.end_row,
        checked=news.checked,
        mismatched=news.mismatched,
        unreadable=news.unreadable,
        foreign=news.foreign,
        completed=completed,
    )


def _compare(batch: list[_Expected], found: dict[VectorId, Vector], news: Look) -> None:
    digests = {vector_id: digest_vector(vector) for vector_id, vector in found.items()}
    kinds = diff_contents({one.id: one.digest for one in batch}, digests)
    for one in batch:
        kind = kinds.get(one.id)
        if kind is DriftKind.MISMATCHED:
            news.mismatched.append(one.row)
            if found[one.id].namespace:
                news.foreign.append(one.row)
        elif kind is not None:
            news.unreadable.append(one.row)
    news.end_row = batch[-1].row + 1
    news.checked += len(batch)


def _expected(
    run: RunFolder, only_rows: frozenset[int] | None, missing: frozenset[str], *, first_row: int
) -> Iterator[list[_Expected]]:
    """What should be there from `first_row` on, at most 20 at a time, without the missing ones."""
    held: list[_Expected] = []
    for batch in run.targets(
        ["row", "vector_id", "digest"],
        first_row=first_row,
        only=only_rows,
        excluded=run.refused_rows(),
    ):
        columns = (column.to_pylist() for column in batch.columns)
        for row, vector_id, digest in zip(*columns, strict=True):
            if vector_id not in missing:
                held.append(_Expected(row, VectorId(vector_id), digest))
            if len(held) == FETCH_IDS_MAX:
                yield held
                held = []
    if held:
        yield held
