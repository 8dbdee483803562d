"""The rows of a check: what was found of each thing that a move needs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from migrate.errors import ExitCode, MigrationError

T = TypeVar("T")


class State(StrEnum):
    """How one row stands."""

    OK = "ok"
    WARN = "warn"  # a move can begin, and the operator should know
    FAIL = "fail"  # a move would stop here
    SKIPPED = "skipped"  # could not be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was checked."""

    name: str
    state: State
    found: str
    advice: str = ""  # what to do next; empty where nothing is to be done
    exit_code: ExitCode = ExitCode.DONE  # of the command that would meet this


class Rows:
    """The rows so far, in the order in which they were found."""

    def __init__(self) -> None:
        self.all: list[Row] = []

    def ok(self, name: str, found: str) -> None:
        """It is as it should be."""
        self.all.append(Row(name=name, state=State.OK, found=found))

    def warn(self, name: str, found: str, advice: str) -> None:
        """A move can begin; the operator should know this, and can do that."""
        self.all.append(Row(name=name, state=State.WARN, found=found, advice=advice))

    def note(self, name: str, found: str, warnings: Iterable[str]) -> None:
        """`found` with ok; with warnings these take its place."""
        told = list(warnings)
        if told:
            self.warn(name, "; ".join(told), "")
        else:
            self.ok(name, found)

    def fail(self, name: str, error: MigrationError) -> None:
        """A command would end with this error."""
        self.all.append(
            Row(
                name=name,
                state=State.FAIL,
                found=str(error),
                advice=error.remedy,
                exit_code=error.exit_code,
            )
        )

    def skip(self, names: Iterable[str], why: str) -> None:
        """These could not be asked."""
        self.all += [Row(name=name, state=State.SKIPPED, found=why) for name in names]

    def look(self, name: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None when it raises: the row then says what it met."""
        try:
            return read()
        except MigrationError as error:
            self.fail(name, error)
            return None

    def count(self, state: State) -> int:
        """How many rows stand so."""
        return sum(row.state is state for row in self.all)

    @property
    def exit_code(self) -> ExitCode:
        """That of the first row that fails; DONE without one."""
        return next((row.exit_code for row in self.all if row.state is State.FAIL), ExitCode.DONE)
