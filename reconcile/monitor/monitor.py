"""Take a look, compare it with the look before, and keep it in the history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from migrate.errors import (
    BudgetExhaustedError,
    ExitCode,
    IndeterminateError,
    PreconditionError,
    RemoteUnavailableError,
)
from migrate.model.stamps import iso_stamp
from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.storage.id_files import write_ids
from migrate.storage.layout import id_file_name
from migrate.words import counted
from reconcile.compare import check_same_index
from reconcile.monitor.history import (
    Looked,
    Verdict,
    append,
    monitor_folder,
    read_history,
)
from reconcile.monitor.look import Look, LookRules, look

DROP_SHARE_DEFAULT = 0.1
DROPS_ALWAYS = 10  # vectors that may always be gone since the look before
SHOWN_MAX = 5  # ids of a class in the result

CLASSES: Mapping[str, str] = {
    "dangling": "ids that a KV entry names and the vector index does not hold",
    "orphaned": "vectors that no KV entry names",
    "repeated": "ids that are named twice",
    "malformed": "KV entries that are no list of ids",
    "expiring": "KV entries that will vanish while their vectors stay",
    "counter": "a counter that no number of vectors explains",
    "indexes": "metadata indexes that are missing or of another type",
    "contents": "sampled vectors that cannot be searched, or are of another file",
    "dropped": "more vectors gone than --max-drop allows",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorReport:
    """One look, with the looks before it."""

    run_id: str
    looked: Looked
    first: Mapping[str, Sequence[str]]  # class -> its first ids
    files: Mapping[str, str]  # class -> file with all of its ids
    history: Sequence[Looked] = field(default_factory=tuple)  # this look is the last

    @property
    def exit_code(self) -> ExitCode:
        """0 (consistent), 4 (inconsistent), 13 (indeterminate)."""
        return {
            "consistent": ExitCode.DONE,
            "inconsistent": ExitCode.DRIFT,
            "indeterminate": ExitCode.INDETERMINATE,
        }[self.looked.verdict]

    def document(self) -> dict[str, object]:
        """The JSON document, one line for log collectors."""
        looked, before = self.looked, self._before()
        return {
            "run_id": self.run_id,
            "look": len(self.history),
            "at": looked.at,
            "seconds": looked.seconds,
            "verdict": looked.verdict,
            "why": looked.why,
            "counts": {
                "vectors": looked.vectors,
                "files": looked.files,
                "counter": looked.counter,
                "sampled": looked.sampled,
                "as_moved": looked.as_moved,
            },
            "since_last": {
                "vectors": _difference(looked.vectors, None if before is None else before.vectors),
                "files": _difference(looked.files, None if before is None else before.files),
            },
            "findings": dict(looked.findings),
            "first": {name: list(ids) for name, ids in self.first.items()},
            "id_files": dict(self.files),
            "exit_code": int(self.exit_code),
        }

    def _before(self) -> Looked | None:
        return self.history[-2] if len(self.history) > 1 else None


def monitor(
    run: RunFolder, target: Target, rules: LookRules, runtime: Runtime, *, max_drop: float
) -> MonitorReport:
    """Look at the target of a run once, and add the look to its history.

    `max_drop` is the share of the vectors that may be gone since the look before. Writes to no
    store. Raises PreconditionError for a run that is not complete or is rolled back, and when the
    index is not the one of the plan.
    """
    state = run.state()
    if not state.completed or state.rollback_opened:
        raise PreconditionError(
            f"run {run.plan.run_id} is {state.phase}: there is nothing to watch",
            remedy="run `q2v status`: it says what comes next",
        )
    check_same_index(run, target.vectors)
    history = read_history(run)
    begun_s = runtime.clock.monotonic_s()
    found: Look | None = None
    unread = ""
    try:
        found = look(run, target, rules, runtime)
    except (IndeterminateError, RemoteUnavailableError, BudgetExhaustedError) as error:
        unread = f"not everything could be read: {error}"
    findings = {} if found is None else dict(found.findings)
    if found is not None:
        findings |= _dropped(found, history, max_drop)
    verdict, why = _verdict(findings, unread)
    looked = Looked(
        at=iso_stamp(runtime.clock.wall_s()),
        seconds=round(runtime.clock.monotonic_s() - begun_s, 3),
        verdict=verdict,
        why=why,
        vectors=None if found is None else found.vectors,
        files=None if found is None else found.files,
        counter=None if found is None else found.counter,
        sampled=0 if found is None else found.sampled,
        as_moved=0 if found is None else found.as_moved,
        findings={name: len(ids) for name, ids in findings.items()},
    )
    # A look that could not read everything says nothing of what an earlier one has named.
    files = {} if found is None else _write_ids(run, findings)
    append(run, looked)
    return MonitorReport(
        run_id=run.plan.run_id,
        looked=looked,
        first={name: ids[:SHOWN_MAX] for name, ids in findings.items()},
        files=files,
        history=[*history, looked],
    )


def _dropped(found: Look, history: Sequence[Looked], max_drop: float) -> dict[str, tuple[str, ...]]:
    """The class `dropped`, if more vectors are gone since the last look that counted them."""
    before = next((one.vectors for one in reversed(history) if one.vectors is not None), None)
    if before is None or before - found.vectors <= max(DROPS_ALWAYS, max_drop * before):
        return {}
    return {"dropped": (f"{counted(before, 'vector')} before, {found.vectors} now",)}


def _verdict(findings: Mapping[str, Sequence[str]], unread: str) -> tuple[Verdict, str]:
    if unread:
        return "indeterminate", unread
    if not findings:
        return "consistent", "the stores agree with each other"
    said = ", ".join(f"{len(ids)} {name} (first {ids[0]})" for name, ids in findings.items())
    return "inconsistent", said


def _write_ids(run: RunFolder, findings: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Write the ids of this look's classes; those of an earlier look are removed."""
    folder = monitor_folder(run)
    folder.make()
    written = {}
    for name in CLASSES:
        file = folder.file(id_file_name(name))
        if name in findings:
            write_ids(file, findings[name])
            written[name] = str(file)
        else:
            folder.remove(file.name)
    return written


def _difference(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before
