"""Have a verifier compare the contents, outside the request budget of REST.

Its word counts where it proves that it read: for vectors that are as they should be. What it calls
missing, different or unreadable is read again over REST, and only then is drift. When it cannot be
used, REST reads on from the first row that it did not prove.
"""

from contextlib import closing
from dataclasses import dataclass

from migrate.errors import VerifierUnusableError
from migrate.model.limits import FETCH_IDS_MAX, REQUEST_WINDOW_S, VERIFIER_REQUESTS_MAX
from migrate.model.records import VectorId, Verified, VerifierState
from migrate.plan.request_counts import fetch_requests
from migrate.ports import ContentVerifier, VectorTarget
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.workers.ordered import in_order
from migrate.workers.repeat import repeat_until
from reconcile.diff import DriftKind
from reconcile.scan.expected import Expected, Rows, add_batch
from reconcile.session import Pass
from reconcile.session_folder import Session

QUESTION_VECTORS_MAX = 2_000  # 100 reads of the Worker, a second or a few
BATCHES_PER_NOTE = 5  # most that a kill repeats: 10,000 vectors
SLOW_AFTER_S = 30.0  # its pace is judged from then on
BINDING_TRIES = 6  # to see the same last mutation on both sides


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentReaders:
    """Who reads contents: REST, and before it a verifier when there is one."""

    target: VectorTarget
    verifier: ContentVerifier | None = None
    requests_per_5min: int  # of REST

    @property
    def rest_per_s(self) -> float:
        """Vectors that REST reads in a second at most."""
        return self.requests_per_5min / REQUEST_WINDOW_S * FETCH_IDS_MAX


def verify_contents(
    run: RunFolder,
    session: Session,
    readers: ContentReaders,
    runtime: Runtime,
    *,
    rows: Rows,
    pause_s: float,
) -> None:
    """Continue pass 0 through the verifier, as far as it can be used; the session notes how far.

    `pause_s` is the time between two looks at which index it is bound to.
    """
    verifier = readers.verifier
    assert verifier is not None
    unnoted = Pass(end_row=session.content_pass(0).end_row)
    try:
        state = _check_binding(run, verifier, readers.target, runtime, pause_s=pause_s)
        _read(run, session, readers, runtime, rows=rows, unnoted=unnoted, state=state)
    except VerifierUnusableError as error:
        runtime.progress.say(f"verifier: {error}; REST reads on. Advice: {error.remedy}")
        unnoted.fell_back = str(error)
    session.note_contents(0, unnoted, completed=False)
    if unnoted.fell_back is not None:
        left = max(0, rows.count(run) - session.content_pass(0).checked)
        runtime.progress.start(
            "reading vectors back over REST",
            total=left,
            unit="vectors",
            requests=fetch_requests(left),
        )


def _check_binding(
    run: RunFolder,
    verifier: ContentVerifier,
    target: VectorTarget,
    runtime: Runtime,
    *,
    pause_s: float,
) -> VerifierState:
    """Raise VerifierUnusableError unless the verifier is bound to the index of the run.

    A binding does not say its index's name, and the verifier's names are those of its
    configuration. The last processed mutation is a UUID that no other
    index has; REST and the verifier have to show the same one.
    """
    seen: list[tuple[object, object]] = []

    def look() -> VerifierState:
        before = target.read_progress().processed_mutation
        state = verifier.read_state(run.plan.index.name)
        seen.append((state.processed_mutation, before))
        return state

    state = repeat_until(
        look,
        lambda state: state.processed_mutation is not None and seen[-1][0] == seen[-1][1],
        [pause_s] * (BINDING_TRIES - 1),
        clock=runtime.clock,
        before_pause=lambda *_: runtime.progress.say(
            "verifier: it and REST show different last mutations of the index; looking again"
        ),
    )
    theirs, ours = seen[-1]
    if theirs is None or theirs != ours:
        raise VerifierUnusableError(
            f"it is bound to another index than '{run.plan.index.name}', or others write to it: "
            f"its last mutation is {theirs}, REST shows {ours}",
            remedy="correct the binding that `VECTORIZE_INDEXES` in verifier.wrangler.jsonc names "
            "for this index, and deploy the verifier again",
        )
    return state


def _read(
    run: RunFolder,
    session: Session,
    readers: ContentReaders,
    runtime: Runtime,
    *,
    rows: Rows,
    unnoted: Pass,
    state: VerifierState,
) -> None:
    """Compare batch after batch; `unnoted` holds what the session does not have yet."""
    verifier = readers.verifier
    assert verifier is not None
    batches = rows.batches(run, unnoted.end_row, min(state.vectors_max, QUESTION_VECTORS_MAX))
    started_s, read = runtime.clock.monotonic_s(), 0

    def verify(batch: list[Expected]) -> Verified:
        asked = [(expected.id, expected.digest) for expected in batch]
        return verifier.verify(run.plan.index.name, asked)

    with closing(in_order(verify, batches, width=VERIFIER_REQUESTS_MAX)) as answers:
        for ordinal, (batch, found) in enumerate(answers, start=1):
            add_batch(unnoted, batch, _kinds(found))
            unnoted.verified += len(batch) - len(found.suspects)
            runtime.progress.advance(len(batch))
            read += len(batch)
            if ordinal % BATCHES_PER_NOTE == 0:
                session.note_contents(0, unnoted, completed=False)
                _begin_again(unnoted)
            _check_pace(read, runtime.clock.monotonic_s() - started_s, readers.rest_per_s)


def _kinds(found: Verified) -> dict[VectorId, DriftKind]:
    kinds = dict.fromkeys(found.differs, DriftKind.MISMATCHED)
    for vector_id in found.missing | found.unreadable:
        kinds[vector_id] = DriftKind.UNREADABLE
    return kinds


def _begin_again(unnoted: Pass) -> None:
    """Empty what has been noted; the row stays."""
    unnoted.checked = unnoted.verified = 0
    unnoted.mismatched, unnoted.unreadable = [], []


def _check_pace(read: int, elapsed_s: float, rest_per_s: float) -> None:
    """Raise VerifierUnusableError when REST would read faster."""
    if elapsed_s > SLOW_AFTER_S and read / elapsed_s < rest_per_s:
        raise VerifierUnusableError(
            f"it is slow: {read / elapsed_s:.0f} vectors a second, REST may read {rest_per_s:.0f}",
            remedy="look at the Worker's metrics; run without --verifier if it stays slow",
        )
