"""Read the vector index and compare it with what the run should have written.

Ids are compared in full, from one walk over the listing; contents in full or for a seeded sample,
read by id. Single reads may be stale, so a difference is reported only when a later pass finds it
again.
"""

from contextlib import closing
from dataclasses import dataclass, replace

from migrate.model.digest import digest_vector
from migrate.model.limits import FETCH_IDS_MAX
from migrate.model.records import Vector, VectorId
from migrate.plan.request_counts import fetch_requests
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.tables.target_ids import ID_COLUMNS, ListedIds
from migrate.upload.listing import list_vectors
from migrate.upload.settle import spread
from migrate.words import counted, subject
from migrate.workers.ordered import in_order
from migrate.workers.repeat import refine_until
from reconcile.diff import DriftKind, diff_contents
from reconcile.differences import Named
from reconcile.naming import name_vector_differences
from reconcile.scan.by_verifier import ContentReaders, verify_contents
from reconcile.scan.expected import Expected, Rows, add_batch
from reconcile.session import Pass
from reconcile.session_folder import Session

PASSES_MAX = 4  # reads of a difference before it is reported
# Up to this many differences are read again in every pass. With more, two passes in a row that
# agree are enough: stale reads are rare, so this many differences are not caused by them.
FEW_CANDIDATES = 1_000
REQUESTS_PER_NOTE = 50  # most that a kill repeats: 17 s at the default budget


@dataclass(frozen=True, slots=True, kw_only=True)
class IdScan:
    """The differences between the listed ids and those that should be listed."""

    listed: int
    expected: int
    missing: tuple[str, ...]  # in row order
    extra: tuple[str, ...]
    unlisted: tuple[str, ...] = ()  # not listed, but can be read by id

    @property
    def others_gone(self) -> int:
        """Number of vectors of others that were expected and are not listed."""
        run_differs = len(self.missing) + len(self.unlisted) - len(self.extra)
        return self.expected - self.listed - run_differs


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentScan:
    """The differences between the contents of listed vectors and what the run wrote."""

    checked: int  # vectors
    verified: int  # of `checked`: a verifier proved the digest
    fell_back: str | None  # why REST read the rest in place of the verifier
    mismatched: tuple[str, ...]  # in row order
    unreadable: tuple[str, ...]
    foreign: tuple[str, ...]  # ids of `mismatched` in a namespace, where the run writes none
    differs: Named  # id -> names of what differs, for the first 1,000 of `mismatched`


def scan_ids(
    run: RunFolder,
    others: frozenset[VectorId],
    target: VectorTarget,
    runtime: Runtime,
    *,
    pause_s: float,
) -> IdScan:
    """Compare the listed ids with the expected ones; `others` may be there beside them.

    If ids differ, lists again after `pause_s` seconds until two walks in a row agree. Of the ids
    that are not listed, at most 1,000 are read; one that can be read contradicts the listing.
    """

    def list_once() -> IdScan:
        expected = run.vectors + len(others)
        count = list_vectors(listed, target, runtime, expected=expected)
        listed.compare(run.targets(ID_COLUMNS, excluded=run.refused_rows()))
        missing = [vector_id for _, vector_id in listed.missing()]
        unlisted = _read_though_unlisted(target, missing)
        return IdScan(
            listed=count,
            expected=expected,
            missing=tuple(id_ for id_ in missing if id_ not in unlisted),
            extra=tuple(id_ for id_ in listed.elsewhere() if id_ not in others),
            unlisted=tuple(id_ for id_ in missing if id_ in unlisted),
        )

    with ListedIds(run.spill) as listed:
        return refine_until(
            list_once,
            lambda _: list_once(),
            _is_settled,
            [pause_s] * (PASSES_MAX - 1),
            clock=runtime.clock,
            before_pause=lambda scan, _: runtime.progress.say(
                f"{counted(len(scan.missing), 'vector')} missing, {len(scan.extra)} extra, "
                f"{len(scan.unlisted)} readable but not listed, {scan.others_gone} of others gone: "
                f"listing again in {pause_s:.0f} s"
            ),
        )


def _is_settled(before: IdScan | None, scan: IdScan) -> bool:
    """Whether no further listing is needed: nothing differs, or two in a row agree.

    With an id that can be read but is not listed, the listing may lag: all passes are made.
    """
    if scan.unlisted:
        return False
    if not scan.missing and not scan.extra and not scan.others_gone:
        return True
    return before is not None and (before.missing, before.extra, before.others_gone) == (
        scan.missing,
        scan.extra,
        scan.others_gone,
    )


def _read_though_unlisted(target: VectorTarget, missing: list[VectorId]) -> frozenset[str]:
    """The ids that the target returns when read; at most 1,000, evenly spread, are read."""
    asked = [missing[at] for at in spread(len(missing), FEW_CANDIDATES)]
    found: set[str] = set()
    for start in range(0, len(asked), FETCH_IDS_MAX):
        found |= target.fetch(asked[start : start + FETCH_IDS_MAX]).keys()
    return frozenset(found)


def scan_contents(
    run: RunFolder,
    session: Session,
    readers: ContentReaders,
    runtime: Runtime,
    *,
    rows: Rows,
    pause_s: float,
) -> ContentScan:
    """Compare the contents of these vectors of the run.

    Continues after the last row that the session has noted. Vectors that differ are read again
    after pauses that double from `pause_s`. One stale read may follow another, so up to 1,000
    differences are reported only if every pass finds them.
    """
    total = rows.count(run)
    requests = 0 if readers.verifier is not None else fetch_requests(total)
    runtime.progress.start("reading vectors back", total=total, unit="vectors", requests=requests)
    candidates: dict[int, DriftKind] = {}
    latest = Pass()
    for ordinal in range(PASSES_MAX):
        if ordinal and not session.content_pass(ordinal).completed:
            runtime.progress.say(
                f"{subject(len(candidates), 'vector', 'differs')}: reading them again"
            )
            runtime.clock.wait(pause_s * 2 ** (ordinal - 1))
        if ordinal:
            again = len(candidates)
            runtime.progress.start(
                "reading vectors again",
                total=again,
                unit="vectors",
                requests=fetch_requests(again),
            )
        latest = _read_pass(run, session, ordinal, readers, runtime, rows=rows, pause_s=pause_s)
        before, candidates = candidates, latest.candidates
        agreed = ordinal > 0 and candidates == before
        if not candidates or (agreed and len(candidates) > FEW_CANDIDATES):
            break
        rows = replace(rows, only=frozenset(candidates))
    ids = _ids_of(run, candidates)
    first = session.content_pass(0)
    mismatched = [row for row, kind in candidates.items() if kind is DriftKind.MISMATCHED]
    in_namespace = {} if not candidates else dict.fromkeys(latest.foreign, DriftKind.MISMATCHED)
    return ContentScan(
        checked=first.checked,
        verified=first.verified,
        fell_back=first.fell_back,
        mismatched=_of_kind(candidates, ids, DriftKind.MISMATCHED),
        unreadable=_of_kind(candidates, ids, DriftKind.UNREADABLE),
        foreign=_of_kind(in_namespace, ids, DriftKind.MISMATCHED),
        differs=name_vector_differences(run, readers.target, mismatched, runtime.progress),
    )


def _of_kind(
    candidates: dict[int, DriftKind], ids: dict[int, VectorId], kind: DriftKind
) -> tuple[str, ...]:
    return tuple(ids[row] for row in sorted(candidates) if candidates[row] is kind)


def _ids_of(run: RunFolder, candidates: dict[int, DriftKind]) -> dict[int, VectorId]:
    """Row -> vector id of these rows."""
    if not candidates:
        return {}
    return {
        row: VectorId(vector_id)
        for batch in run.targets(ID_COLUMNS, only=candidates.keys())
        for row, vector_id in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    }


def _read_pass(
    run: RunFolder,
    session: Session,
    ordinal: int,
    readers: ContentReaders,
    runtime: Runtime,
    *,
    rows: Rows,
    pause_s: float,
) -> Pass:
    """Make or continue one pass over these rows; returns it completed.

    The first pass begins with the verifier, when there is one. The session gets an entry after
    every 50 requests of REST. Several requests may be under way, but their answers are taken in
    row order, so that an entry covers every row below its `end_row`.
    """
    done = session.content_pass(ordinal)
    runtime.progress.advance(done.checked, earlier=True)
    if done.completed:
        return done
    if ordinal == 0 and readers.verifier is not None:
        verify_contents(run, session, readers, runtime, rows=rows, pause_s=pause_s)
        done = session.content_pass(ordinal)
    unnoted = Pass(end_row=done.end_row)
    batches = rows.batches(run, done.end_row, FETCH_IDS_MAX)

    def fetch(batch: list[Expected]) -> dict[VectorId, Vector]:
        return readers.target.fetch([expected.id for expected in batch])

    with closing(in_order(fetch, batches, width=runtime.reads_in_flight)) as answers:
        for requests, (batch, found) in enumerate(answers, start=1):
            _compare(run, batch, found, unnoted)
            runtime.progress.advance(len(batch))
            if requests % REQUESTS_PER_NOTE == 0:
                session.note_contents(ordinal, unnoted, completed=False)
                unnoted = Pass(end_row=unnoted.end_row)
    session.note_contents(ordinal, unnoted, completed=True)
    return session.content_pass(ordinal)


def _compare(
    run: RunFolder, batch: list[Expected], found: dict[VectorId, Vector], unnoted: Pass
) -> None:
    digests = {vector_id: digest_vector(vector) for vector_id, vector in found.items()}
    kinds = diff_contents({expected.id: expected.digest for expected in batch}, digests)
    in_namespace = {
        vector_id for vector_id in kinds if vector_id in found and found[vector_id].namespace
    }
    # A run that writes namespaces mends a wrong one, as it mends a wrong value.
    foreign = frozenset() if run.plan.mapping.namespace else in_namespace
    add_batch(unnoted, batch, kinds, foreign)
