"""Roll back every run of a folder in a target, then delete what an allow list names."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice

from migrate.errors import ExitCode, IndeterminateError, RemoteUnavailableError
from migrate.model.hmac_key import SealKey
from migrate.model.limits import DELETE_IDS_MAX, KV_READ_KEYS_MAX
from migrate.model.records import VectorId
from migrate.ports import Target
from migrate.run.choose.chain import find_later_run
from migrate.run.folder import RunFolder, run_folders
from migrate.run.refused_vectors import read_pre_images, unwritten_rows
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import RUNS, scratch_name
from migrate.tables.target_ids import ID_COLUMNS
from migrate.upload.kv_index import KEYS_PER_DELETE
from migrate.upload.listing import counted_pages, list_keys, walk_again
from migrate.words import counted
from migrate.workers.repeat import doubling, polling, repeat_until
from reconcile.reset.left import LeftIds
from reconcile.rollback.chain import open_chain, preview_chain, roll_back_chain
from reconcile.rollback.manifest import read_kv
from reconcile.rollback.report import RollbackReport, UndoRules

ATTEMPTS_MAX = 5  # to delete KV keys that fail
LISTINGS_MAX = 3  # of keys, while deleted ones are listed
NAMED_MAX = 5  # names of what is left, in the result


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetReport:
    """What a reset has done, or would do."""

    executed: bool
    rolled_back: tuple[RollbackReport, ...]  # one for each chain of runs, the newest first
    allowed_vectors: int  # found under a name of the allow list
    allowed_keys: int
    unknown: tuple[str, ...]  # names of the allow list that nothing has
    left_vectors: int
    left_keys: int
    left_first: tuple[str, ...]  # some of their names
    requests: int
    minutes: float

    @property
    def conflicts(self) -> list[str]:
        """Ids and keys of the runs that another writer changed, and that are kept."""
        return [name for report in self.rolled_back for name in report.conflicts]

    @property
    def exit_code(self) -> ExitCode:
        """4 while anything is left in the target, else 0."""
        is_left = self.left_vectors or self.left_keys or self.conflicts
        return ExitCode.DRIFT if is_left else ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetRules:
    """What may be deleted, and how long it waits."""

    undo: UndoRules
    allowed: frozenset[str]  # ids and keys that may be deleted although others wrote them
    requests_per_5min: int
    own: str | None = None  # the one of several vector indexes that is emptied
    # The other one of several vector indexes that a key belongs to, also where no run stands.
    other_index: Callable[[str], str | None] = lambda _: None


@contextmanager
def open_chains(
    directory: WorkFolder, target: Target, key: SealKey | None, *, own: str | None = None
) -> Iterator[list[list[RunFolder]]]:
    """The chains of runs that wrote to this target, the newest first.

    `own`: only runs into this one of several vector indexes. Without those that are rolled back,
    unless their rollback has kept changes of others.
    """
    here = (target.vectors.identity(), target.kv.identity())
    with ExitStack() as stack:
        tips: list[RunFolder] = []
        for folder in sealed_folders(directory):
            if not folder.has(RUNS):
                continue
            snapshot = Snapshot(folder, key)
            for place in run_folders(snapshot, own):
                run = RunFolder(place, snapshot)
                state = run.state()
                is_here = (run.plan.vector_target, run.plan.kv_target) == here
                is_undone = state.rollback_completed and not state.rollback_conflicts
                is_open = state.pre_images is not None and not is_undone
                if is_here and is_open and find_later_run(run) is None:
                    stack.callback(run.close)
                    tips.append(run)
                else:
                    run.close()
        tips.sort(key=lambda run: run.plan.created_at, reverse=True)
        chains: list[list[RunFolder]] = []
        opened: set[tuple[str, str]] = set()  # snapshot and run
        for run in tips:
            # A catch-up that has begun and not written yet is the tip; its base was found as well.
            if (run.plan.snapshot_id, run.plan.run_id) not in opened:
                chains.append(stack.enter_context(open_chain(run)))
                opened |= {(one.plan.snapshot_id, one.plan.run_id) for one in chains[-1]}
        yield chains


def reset(
    directory: WorkFolder,
    chains: Sequence[Sequence[RunFolder]],
    target: Target,
    rules: ResetRules,
    runtime: Runtime,
    *,
    execute: bool,
) -> ResetReport:
    """Empty the target, or say what that would do. Safe to repeat after a kill.

    Raises as a rollback, and IndeterminateError when deletions do not become visible in time.
    """
    requests_per_5min = rules.requests_per_5min
    # Of a chain that is rolled back only its conflicts are left, and only the list settles those.
    chains, settled = _parted(chains)
    if execute:
        reports = [
            roll_back_chain(
                chain,
                target,
                rules.undo,
                runtime,
                requests_per_5min=requests_per_5min,
                forced=rules.allowed,
                leave_later_writes=True,
            )
            for chain in (*chains, *(settled if rules.allowed else ()))
        ]
    else:
        reports = [preview_chain(chain, requests_per_5min=requests_per_5min) for chain in chains]
    names = sorted(rules.allowed)
    with LeftIds(directory.scratch(scratch_name(rules.own))) as ids:
        _list_into(ids, target, runtime)
        vectors = ids.listed_among(names)
        keys = _present_keys(target, names)
        found = {*vectors, *keys}
        if execute:
            _delete_keys(keys, target, rules.undo, runtime)
            _delete_vectors(vectors, target, ids, rules.undo, runtime)
        else:
            for chain in chains:
                for run in chain:
                    ids.add_created(run.targets(ID_COLUMNS))
            # What a run has made goes with the run, and counts there.
            vectors = ids.unnamed_among(names)
            keys = sorted(set(keys) - _created_keys(chains))
            ids.add_named(names)
        left = list(ids.left())
    conflicts = {name for one in reports for name in (*one.conflicts, one.counter_kept)}
    gone = (_created_keys(chains) - conflicts) | rules.allowed
    if execute:
        left_keys = _keys_after(gone, target, rules, runtime)
    else:
        left_keys = [key for key in _all_keys(target, rules, runtime) if key not in gone]
    deletes = -(-len(vectors) // DELETE_IDS_MAX) + -(-len(keys) // KEYS_PER_DELETE)
    return ResetReport(
        executed=execute,
        rolled_back=tuple(reports),
        allowed_vectors=len(vectors),
        allowed_keys=len(keys),
        unknown=tuple(name for name in names if name not in found),
        left_vectors=len(left) + (0 if execute else _restored(chains, rules.allowed)),
        left_keys=len(left_keys),
        left_first=tuple([*left, *left_keys][:NAMED_MAX]),
        requests=sum(report.requests for report in reports) + deletes,
        minutes=sum(report.minutes for report in reports) + 5 * deletes / requests_per_5min,
    )


def _parted(
    chains: Sequence[Sequence[RunFolder]],
) -> tuple[list[Sequence[RunFolder]], list[Sequence[RunFolder]]]:
    """Those to be rolled back, and those that are rolled back but for their conflicts."""
    settled = [chain for chain in chains if all(run.state().rollback_completed for run in chain)]
    return [chain for chain in chains if chain not in settled], settled


def _list_into(ids: LeftIds, target: Target, runtime: Runtime) -> None:
    def walk() -> None:
        runtime.progress.start("listing vectors", total=None, unit="ids")
        ids.add_listed(counted_pages(iter(target.vectors.list_ids()), runtime.progress))

    walk_again("listing", walk, runtime)


def _present_keys(target: Target, names: Sequence[str]) -> list[str]:
    """Those of these names that are KV keys."""
    waiting, found = iter(names), []
    while chunk := list(islice(waiting, KV_READ_KEYS_MAX)):
        found += sorted(target.kv.read(chunk))
    return found


def _delete_keys(keys: Sequence[str], target: Target, rules: UndoRules, runtime: Runtime) -> None:
    """Delete keys; those that do not succeed are sent again. Raises when they keep failing."""
    for start in range(0, len(keys), KEYS_PER_DELETE):
        failing = list(keys[start : start + KEYS_PER_DELETE])

        def send() -> list[str]:
            nonlocal failing
            failing = target.kv.delete(failing)
            return failing

        pauses = doubling(rules.kv_settle_s, times=ATTEMPTS_MAX - 1)
        if repeat_until(send, lambda failed: not failed, pauses, clock=runtime.clock):
            raise RemoteUnavailableError(
                f"{counted(len(failing), 'KV key')} could not be deleted, first '{failing[0]}'",
                remedy="run the same command again: it continues",
            )


def _delete_vectors(
    vectors: Sequence[VectorId], target: Target, ids: LeftIds, rules: UndoRules, runtime: Runtime
) -> None:
    """Delete vectors, and wait until no listing shows them."""
    runtime.progress.start("deleting vectors", total=len(vectors), unit="vectors")
    for start in range(0, len(vectors), DELETE_IDS_MAX):
        some = vectors[start : start + DELETE_IDS_MAX]
        target.vectors.delete(some)
        runtime.progress.advance(len(some))
    if not vectors:
        return

    def still_there() -> list[VectorId]:
        _list_into(ids, target, runtime)
        return ids.listed_among([str(one) for one in vectors])

    deadline_s = runtime.clock.monotonic_s() + rules.settle.timeout_s
    there = repeat_until(
        still_there,
        lambda found: not found,
        polling(rules.pause_s, deadline_s=deadline_s, clock=runtime.clock),
        clock=runtime.clock,
    )
    if there:
        raise IndeterminateError(
            f"{len(there)} deleted vectors are still listed after {rules.settle.timeout_s:.0f} s, "
            f"first '{there[0]}'",
            remedy="run the same command again: it continues",
        )


def _restored(chains: Sequence[Sequence[RunFolder]], allowed: frozenset[str]) -> int:
    """Vectors that a rollback puts back and that the list does not name.

    The first run of each chain overwrote them. What a later run of the chain overwrote is of the
    runs before it, and goes with those; what was another writer's is put back too.
    """
    restored: set[VectorId] = set()
    for chain in chains:
        for position, run in enumerate(chain):
            unwritten = unwritten_rows(run)
            found = {
                record.vector_id
                for record in read_pre_images(run)
                if record.former is not None and record.row not in unwritten
            }
            for older in chain[position + 1 :]:
                for batch in older.targets(ID_COLUMNS):
                    found.difference_update(map(VectorId, batch.column("vector_id").to_pylist()))
            restored |= found
    return len(restored - allowed)


def _created_keys(chains: Sequence[Sequence[RunFolder]]) -> set[str]:
    """The keys that the runs have written, without those that were there before each chain."""
    created: set[str] = set()
    for chain in chains:
        written = {record.key for run in chain for record in read_kv(run)}
        former = {record.key for record in read_kv(chain[-1]) if record.former is not None}
        created |= written - former
    return created


def _all_keys(target: Target, rules: ResetRules, runtime: Runtime) -> list[str]:
    """All keys but those of other vector indexes."""
    listed = (entry.key for entry in list_keys(target.kv, "", runtime))
    return [key for key in listed if rules.other_index(key) is None]


def _keys_after(gone: set[str], target: Target, rules: ResetRules, runtime: Runtime) -> list[str]:
    """The keys that are left; a listing may show deleted ones for some time, so it is repeated."""
    return repeat_until(
        lambda: _all_keys(target, rules, runtime),
        gone.isdisjoint,
        doubling(rules.undo.kv_settle_s, times=LISTINGS_MAX - 1),
        clock=runtime.clock,
    )
