"""Run the steps of all moves: a process for each, as many at once as the fleet allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from migrate.errors import ExitCode
from migrate.ports import Clock, Progress
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import JOURNAL_FORMAT, Entry
from migrate.storage.local_folder import LocalFolder
from migrate.words import counted
from q2v.fleet.held import newest_runs, planned_snapshot
from q2v.fleet.model import LOGS, Fleet, Move, Step
from q2v.fleet.process import RunningCommand
from q2v.fleet.report import document_of, showing
from q2v.fleet.schedule import Phase, Standing, is_changed, standings
from q2v.fleet.state import FleetState, apply, fold_fleet, is_retried
from q2v.fleet.steps import Given, command_words
from q2v.output.render import format_about

WAIT_S_MAX = 60.0  # then windows and pauses are looked up again: the wall clock may have jumped


@dataclass(frozen=True, slots=True)
class _Running:
    move: Move
    step: Step
    deadline_s: float | None  # when its window closes, in seconds since 1970
    command: RunningCommand


@dataclass(slots=True)
class FleetRun:
    """One start of a fleet. The caller holds the lock of its folder."""

    fleet: Fleet
    journal: JournalFile
    clock: Clock
    progress: Progress
    waits_for_windows: bool = True
    on_end: Callable[[], None] = lambda: None  # after each step, for the report
    state: FleetState = field(init=False)
    _running: list[_Running] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Take the state from the journal."""
        self.state = fold_fleet(self.journal.entries)

    def begin(
        self,
        order: str,
        *,
        is_new: bool,
        again: Sequence[str] = (),
        accepted: Sequence[str] = (),
    ) -> None:
        """Note the start. `order`: the steps that were typed; `again`: moves that start over.

        `accepted`: moves that continue with settings that have changed.
        """
        if not self.journal.entries:
            self._note({"type": "opened", "format": JOURNAL_FORMAT})
        self._note({"type": "started", "order": order, "is_new": is_new, "at_s": self._now_s()})
        for name in again:
            self._note({"type": "again", "move": name, "at_s": self._now_s()})
        for move in self.fleet.moves:
            if self.state.move(move.name).steps:
                self.state.held[move.name] = newest_runs(move)
            if move.name in accepted and is_changed(move, self.state.move(move.name)):
                self._note(
                    {
                        "type": "accepted",
                        "move": move.name,
                        "at_s": self._now_s(),
                        "config_sha256": move.config_sha256,
                        "settings_sha256": move.settings_sha256,
                    }
                )

    def run(self) -> dict[str, Standing]:
        """Until nothing is left that can be started; returns how each move stands.

        A signal ends the commands that run, each at its next safe point, and is raised after that.
        """
        try:
            while True:
                found = standings(self.fleet, self.state, self._now_s())
                self._start_ready(found)
                if self._running:
                    self._take_ended(self._pause_s(found))
                elif not self._waits(found):
                    return found
        except BaseException:
            self._stop_all()
            raise

    def _start_ready(self, found: dict[str, Standing]) -> None:
        ready = [move for move in self.fleet.moves if found[move.name].phase is Phase.READY]
        for move in ready[: self.fleet.at_once - len(self._running)]:
            step = found[move.name].step
            assert step is not None
            self._start(move, step)

    def _start(self, move: Move, step: Step) -> None:
        now_s = self._now_s()
        closes_s = None if move.window is None else move.window.open_until_s(now_s)
        given = Given(
            deadline_s=None if closes_s is None else closes_s - now_s,
            kv_namespace_id=self.state.namespaces.get(move.name),
            snapshot_id=planned_snapshot(move, step),
        )
        words = command_words(self.fleet, move, step, given)
        name = self._new_name(move, step)
        self._note(
            {
                "type": "begun",
                "move": move.name,
                "step": step.name,
                "at_s": now_s,
                "config_sha256": move.config_sha256,
                "settings_sha256": move.settings_sha256,
                "log": f"{name}.log",
                "document": f"{name}.json",
            }
        )
        command = RunningCommand(
            words,
            document=self.fleet.directory / f"{name}.json",
            log=self.fleet.directory / f"{name}.log",
        )
        self._running.append(_Running(move, step, closes_s, command))
        number = self.state.move(move.name).step(step.name).tries + 1
        again = "" if number == 1 else f", try {number} of {move.tries}"
        self.progress.say(f"{move.name}: {step.name} begun{again}")

    def _new_name(self, move: Move, step: Step) -> str:
        """Of log and document: a new one, also where a journal was lost and its logs were not."""
        folder = LocalFolder(self.fleet.directory / LOGS / move.name)
        folder.make()
        numbers = [name.partition("-")[0] for name in folder.names()]
        number = max([self.state.begun, *(int(one) for one in numbers if one.isdecimal())]) + 1
        return f"{LOGS}/{move.name}/{number:05d}-{step.command}"

    def _take_ended(self, timeout_s: float) -> None:
        ended = set(wait([one.command.sentinel for one in self._running], timeout_s))
        for one in [each for each in self._running if each.command.sentinel in ended]:
            self._running.remove(one)
            self._end(one, is_stopped=False)

    def _end(self, one: _Running, *, is_stopped: bool) -> None:
        code, now_s = one.command.exit_code(), self._now_s()
        is_closed = one.deadline_s is not None and now_s >= one.deadline_s
        # A command that its window or the end of the fleet has stopped has not failed.
        counts = not (is_stopped or (is_closed and code == ExitCode.BUDGET))
        entry: Entry = {
            "type": "ended",
            "move": one.move.name,
            "step": one.step.name,
            "at_s": now_s,
            "code": code,
            "counts": counts,
        }
        self.state.held[one.move.name] = newest_runs(one.move)
        namespace = self._namespace_of(one, code)
        self._note(entry if namespace is None else entry | {"kv_namespace_id": namespace})
        ending, log = (
            self._ending(one, code),
            self.state.move(one.move.name).step(one.step.name).log,
        )
        if code and not counts:
            stopped = "with the fleet" if is_stopped else "at the end of its window"
            ending = f"stopped {stopped}, with {code}; it will be continued (log: {log})"
        self.progress.say(f"{one.move.name}: {one.step.name} {ending}")
        self.on_end()

    def _namespace_of(self, one: _Running, code: int) -> str | None:
        """The id of the KV namespace that a `provision` has made or found, for the later steps."""
        if one.step.command != "provision" or code != ExitCode.DONE:
            return None
        known = self.state.move(one.move.name).step(one.step.name)
        found = (document_of(self.fleet, known.document) or {}).get("kv_namespace_id")
        return found if isinstance(found, str) else None

    def _ending(self, one: _Running, code: int) -> str:
        known = self.state.move(one.move.name).step(one.step.name)
        ending = f"ended with {code}"
        if code == ExitCode.DONE:
            return f"{ending} after {format_about((known.ended_s or 0) - (known.begun_s or 0))}"
        if is_retried(code) and known.tries < one.move.tries:
            return f"{ending}: it is tried again (log: {known.log})"
        return f"{ending}: this move stops (log: {known.log})"

    def _waits(self, found: dict[str, Standing]) -> bool:
        """Wait for a window or a pause, if there is one to wait for."""
        until = [one for one in found.values() if one.until_s is not None]
        if not self.waits_for_windows:
            until = [one for one in until if one.phase is not Phase.CLOSED]
        if not until:
            return False
        names = [name for name, one in found.items() if one in until]
        pause_s = self._pause_s(found)
        if pause_s >= WAIT_S_MAX:
            self.progress.say(f"waiting for the window of {counted(len(names), 'move')}")
        self.clock.wait(pause_s)
        return True

    def _pause_s(self, found: dict[str, Standing]) -> float:
        until = [one.until_s for one in found.values() if one.until_s is not None]
        return max(0.0, min([*(at_s - self._now_s() for at_s in until), WAIT_S_MAX]))

    def _stop_all(self) -> None:
        for one in self._running:
            one.command.stop()
        if self._running:
            self.progress.say(
                f"stopping {counted(len(self._running), 'command')} at the next safe point; a "
                f"second Ctrl-C ends the fleet at once, and `{showing(self.fleet)}` then says how "
                "far each move is"
            )
        for one in self._running:
            self._end(one, is_stopped=True)
        self._running.clear()

    def _note(self, entry: Entry) -> None:
        self.journal.append(entry)
        apply(self.state, entry)

    def _now_s(self) -> float:
        return float(self.clock.wall_s())
