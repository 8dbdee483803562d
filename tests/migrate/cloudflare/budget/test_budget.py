"""At most so many requests in every sliding five minutes, whatever happens to us."""

import sqlite3
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from migrate.clock import SystemClock
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.errors import (
    BudgetExhaustedError,
    ForeignStateError,
    LocalStorageError,
    UsageError,
)
from tests.harness.fakes.clock import VirtualClock
from tests.harness.running.programs import start_python
from tests.harness.tiers import examples
from tests.migrate.cloudflare.clients import Talker

WINDOW_S = 300.0 - 1e-6  # the true time and the clock add up the same floats in another order


class Machine(VirtualClock):
    """A virtual machine: reboots, wall clocks that jump, and the true time beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.true_s = 0.0
        self.boots = 0

    @override
    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        self.true_s += seconds

    def jump(self, seconds: float) -> None:
        self._wall_s += seconds

    def reboot(self, seconds: float) -> None:
        """Off for `seconds`; the monotonic clock starts anew."""
        self.wait(seconds)
        self.boots += 1
        self._monotonic_s = 0.0

    def boot_id(self) -> str:
        return f"boot-{self.boots}"


def open_budget(path: Path | None, machine: Machine, requests_max: int = 5) -> RequestBudget:
    return RequestBudget(path, clock=machine, requests_max=requests_max, boot_id=machine.boot_id)


@contextmanager
def table(path: Path) -> Iterator[sqlite3.Connection]:
    """The rows of a budget, read and changed without its code."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


class TwoProcesses:
    """Two processes of one machine that send in turns, and the true times of what they sent."""

    def __init__(self, path: Path, requests_max: int) -> None:
        self.machine = Machine()
        self.sent: list[float] = []
        self._silent_until = 0.0
        self._path = path
        self._requests_max = requests_max
        self.reopen(0)

    def send(self, count: float) -> None:
        for number in range(int(count)):
            self._budgets[number % 2].acquire()
            self.sent.append(self.machine.true_s)
            assert self.machine.true_s >= self._silent_until

    def wait(self, seconds: float) -> None:
        self.machine.wait(seconds)

    def jump(self, seconds: float) -> None:
        self.machine.jump(seconds)

    def reopen(self, _: float) -> None:
        self._budgets = [
            open_budget(self._path, self.machine, self._requests_max) for _ in range(2)
        ]

    def reboot(self, seconds: float) -> None:
        self.machine.reboot(seconds)
        self.reopen(0)

    def cut_power(self, share: float) -> None:
        """The last rows were not on the disk yet; what was written durably, blocks too, was."""
        with table(self._path) as rows:
            last = max([0, *(row for (row,) in rows.execute("SELECT id FROM spent"))])
            (durable,) = rows.execute(
                "SELECT coalesce(max(id), 0) FROM spent WHERE why = 'block'"
            ).fetchone()
            kept = durable + int(share * (last - durable))
            rows.execute("DELETE FROM spent WHERE id > ? AND why <> 'boot'", (kept,))
        self.reboot(45)

    def block(self, seconds: float) -> None:
        self._budgets[1].block(seconds)
        self._silent_until = max(self._silent_until, self.machine.true_s + seconds)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just(TwoProcesses.send), st.integers(1, 8)),
        st.tuples(st.just(TwoProcesses.wait), st.floats(0, 200)),
        st.tuples(st.just(TwoProcesses.jump), st.floats(-200_000, 200_000)),
        st.tuples(st.just(TwoProcesses.reopen), st.just(0)),
        st.tuples(st.just(TwoProcesses.reboot), st.floats(0, 90)),
        st.tuples(st.just(TwoProcesses.cut_power), st.floats(0, 1)),
        st.tuples(st.just(TwoProcesses.block), st.integers(1, 500)),
    ),
    max_size=14,
)


@pytest.mark.slow
@pytest.mark.fault("G11", "G13", "N02", "G02", "I9")
@settings(max_examples=examples(300), deadline=None)
@given(STEPS, st.integers(1, 5))
@example([(TwoProcesses.block, 346), (TwoProcesses.cut_power, 0.0), (TwoProcesses.send, 1)], 1)
def test_no_sliding_window_ever_holds_more_than_the_maximum(
    steps: list[tuple[Callable[[TwoProcesses, float], None], float]], requests_max: int
) -> None:
    """I9 with two processes, restarts, reboots, power cuts and jumping wall clocks."""
    with TemporaryDirectory() as folder:
        processes = TwoProcesses(Path(folder) / "requests", requests_max)
        for step, amount in steps:
            step(processes, amount)
    sent = processes.sent

    for earlier, later in zip(sent, sent[requests_max:], strict=False):
        assert later - earlier >= WINDOW_S


@pytest.mark.fault("G11")
def test_a_stamp_rounded_up_by_the_file_is_not_aged_by_the_wall_clock(tmp_path: Path) -> None:
    """Found by the property above: a stamp half a microsecond ahead was taken for a foreign one."""
    machine = Machine()
    first, second = (open_budget(tmp_path / "requests", machine, requests_max=1) for _ in range(2))
    machine.wait(500.000_000_7)
    first.acquire()
    machine.jump(200)

    second.acquire()

    assert machine.true_s >= 500 + WINDOW_S


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.9999])
def test_a_file_that_was_cut_off_allows_no_request_too_many(tmp_path: Path, share: float) -> None:
    machine, path = Machine(), tmp_path / "requests"
    budget = open_budget(path, machine, requests_max=200)
    for _ in range(200):
        budget.acquire()
    machine.wait(100)
    del budget
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    open_budget(path, machine, requests_max=200).acquire()

    assert 300 <= machine.true_s <= 400.1


def test_damage_that_is_found_while_it_runs_stops_the_run_and_is_repaired_by_the_next(
    tmp_path: Path,
) -> None:
    machine, path = Machine(), tmp_path / "requests"
    budget = open_budget(path, machine, requests_max=900)
    for _ in range(300):
        budget.acquire()
    with path.open("r+b") as file:
        file.seek(24)  # the counter of changes, by which a process knows that its pages are old
        file.write(b"\xff" * (path.stat().st_size - 24))

    with pytest.raises(LocalStorageError) as found:
        budget.acquire()
    assert "run the same command again" in found.value.remedy
    talker = Talker()
    open_budget(path, machine, requests_max=900).acquire(talker)

    assert machine.true_s == pytest.approx(300, abs=0.1)
    assert "could not be read" in talker.said[0]


def test_a_file_of_the_version_before_is_replaced_and_counts_as_a_whole_budget(
    tmp_path: Path,
) -> None:
    machine, path = Machine(), tmp_path / "requests"
    path.write_text(
        "q2v-requests 1\nrequest boot-0 5.000000 1700000000.000000 0.000 0\n", encoding="ascii"
    )

    budget = open_budget(path, machine)
    budget.acquire()

    assert machine.true_s == pytest.approx(300, abs=0.1)
    assert path.read_bytes().startswith(b"SQLite format 3")


def test_a_file_that_is_removed_while_it_is_in_use_is_made_again(tmp_path: Path) -> None:
    machine, path = Machine(), tmp_path / "requests"
    budget = open_budget(path, machine, requests_max=1)
    budget.acquire()
    path.unlink()

    open_budget(path, machine, requests_max=1).acquire()
    budget.acquire()

    assert machine.true_s == pytest.approx(300, abs=0.1)


_ENDLESS = """
import os, pathlib, sys
from migrate.clock import SystemClock
from migrate.cloudflare.budget.budget import RequestBudget
budget = RequestBudget(pathlib.Path(sys.argv[1]), clock=SystemClock(), requests_max=1_200)
while True:
    budget.acquire()
    os.write(1, b".")
"""


@pytest.mark.slow
@pytest.mark.fault("F21", "I9")
def test_a_kill_at_any_moment_loses_no_departure(tmp_path: Path) -> None:
    """Every request that left before the kill is in the table; at most one more is."""
    path, left = tmp_path / "requests", 0
    for kill in range(6):
        with start_python(
            *("-c", _ENDLESS, path), stdout=subprocess.PIPE, cwd=Path(__file__).parents[4]
        ) as process:
            assert process.stdout is not None
            left += len(process.stdout.read(3 + 7 * kill))
            process.kill()
            left += len(process.stdout.read())

        with table(path) as rows:
            (written,) = rows.execute("SELECT count(*) FROM spent WHERE why = 'request'").fetchone()
        assert left <= written <= left + kill + 1


def test_requests_leave_at_once_while_there_is_budget() -> None:
    machine = Machine()
    budget = open_budget(None, machine, requests_max=5)

    for _ in range(5):
        budget.acquire()

    assert machine.waits == []


def test_it_says_why_it_waits(tmp_path: Path) -> None:
    machine, talker = Machine(), Talker()
    budget = open_budget(tmp_path / "requests", machine, requests_max=1)
    budget.acquire(talker)
    assert talker.said == []

    budget.acquire(talker)

    # The wall clock of the machine began at 22:13:20.
    assert talker.said == ["waiting 300 s, until 22:18:20 UTC: 1 request sent in the last 300 s"]
    assert machine.true_s == pytest.approx(300, abs=0.1)


def test_however_many_wait_for_one_moment_it_says_so_once() -> None:
    machine, talker = Machine(), Talker()
    budget = open_budget(None, machine, requests_max=3)
    for _ in range(9):
        budget.acquire(talker)

    assert [line.partition(":")[0] for line in talker.said] == [
        "waiting 300 s, until 22",
        "waiting 300 s, until 22",
    ]


class Together(VirtualClock):
    """Two threads wait at the same time, for one and the same stretch of it."""

    def __init__(self) -> None:
        super().__init__()
        self._both = threading.Barrier(2, timeout=300)

    @override
    def wait(self, seconds: float) -> None:
        if self._both.wait() == 0:
            super().wait(seconds)
        self._both.wait()


def test_threads_that_wait_together_say_and_count_it_once() -> None:
    clock, talker = Together(), Talker()
    budget = RequestBudget(None, clock=clock, requests_max=2)
    budget.acquire()
    budget.acquire()

    with ThreadPoolExecutor(2) as pool:
        for waiting in [pool.submit(budget.acquire, talker) for _ in range(2)]:
            waiting.result()

    assert budget.held_s() == clock.monotonic_s() == pytest.approx(300, abs=0.1)
    assert len(talker.said) == 1


def test_it_knows_how_long_it_held_requests_back() -> None:
    machine = Machine()
    budget = open_budget(None, machine, requests_max=2)
    for _ in range(5):
        budget.acquire()
        machine.wait(10)

    assert budget.held_s() == pytest.approx(2 * (300 - 20), abs=0.1)


def test_it_tells_how_long_requests_will_take_those_in_flight_among_them() -> None:
    machine = Machine()
    budget = open_budget(None, machine, requests_max=3)
    budget.acquire()
    budget.acquire()
    machine.wait(100)
    budget.release()

    # One is in flight and one may leave at once; the next two follow the first two, and the last
    # one follows the answer to the one that leaves at once.
    assert budget.remaining_s(1, 10.0) == 10
    assert budget.remaining_s(2, 10.0) == pytest.approx(10, abs=0.1)
    assert budget.remaining_s(3, 10.0) == pytest.approx(200 + 10, abs=0.1)
    assert budget.remaining_s(5, 10.0) == pytest.approx(310 + 10, abs=0.1)
    budget.block(250)
    assert budget.remaining_s(2, 10.0) == pytest.approx(250 + 10, abs=0.1)
    assert budget.remaining_s(5, 10.0) == pytest.approx(560 + 10, abs=0.1)


@pytest.mark.parametrize(("sent", "requests_max"), [(0, 5), (3, 5), (40, 17)])
def test_what_it_tells_of_many_requests_is_what_they_take(sent: int, requests_max: int) -> None:
    """Each request takes 4 s and could take its deadline, 120 s; one of them is in flight."""
    machine = Machine()
    budget = open_budget(None, machine, requests_max=requests_max)
    for _ in range(sent):
        departure = budget.acquire(within_s=120)
        machine.wait(4)
        budget.release(departure)
    departure = budget.acquire(within_s=120)
    told_s = machine.monotonic_s() + budget.remaining_s(61, 4.0)

    for _ in range(60):
        machine.wait(4)
        budget.release(departure)
        departure = budget.acquire(within_s=120)
    machine.wait(4)
    budget.release(departure)

    assert told_s == pytest.approx(machine.monotonic_s(), abs=0.1)


@pytest.mark.fault("N02", "G13")
def test_a_block_stops_every_process_and_survives_a_restart(tmp_path: Path) -> None:
    machine = Machine()
    first, second = (open_budget(tmp_path / "requests", machine) for _ in range(2))
    first.block(300)

    second.acquire()
    assert machine.true_s >= 300
    second.block(200)
    machine.reboot(0)
    open_budget(tmp_path / "requests", machine).acquire()

    assert machine.true_s >= 500


@pytest.mark.fault("N01")
def test_more_silence_than_a_run_waits_for_ends_the_run_and_the_next_one_too(
    tmp_path: Path,
) -> None:
    machine = Machine()
    open_budget(tmp_path / "requests", machine).block(3_600)

    for _ in range(2):
        with pytest.raises(BudgetExhaustedError, match="blocked the account for"):
            open_budget(tmp_path / "requests", machine).acquire()
    assert machine.waits == []
    machine.wait(3_600.1)

    open_budget(tmp_path / "requests", machine).acquire()


@pytest.mark.fault("N03")
def test_the_services_word_shrinks_the_budget_and_never_grows_it() -> None:
    machine = Machine()
    budget = open_budget(None, machine, requests_max=100)
    budget.acquire()
    assert not budget.note_remaining(1_199, 1)

    assert budget.note_remaining(2, 30)
    machine.wait(1)
    budget.acquire()
    assert not budget.note_remaining(1, 29)
    budget.acquire()
    assert machine.true_s == 1
    budget.acquire()

    assert machine.true_s == pytest.approx(30, abs=0.1)


@pytest.mark.slow
def test_the_file_is_private_and_stays_small(tmp_path: Path) -> None:
    machine = Machine()
    path = tmp_path / "state" / "requests"
    budget = open_budget(path, machine, requests_max=1_200)
    for _ in range(6_000):
        machine.wait(1)
        budget.acquire()

    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.stat().st_size < 256 * 1024


@pytest.mark.fault("G14")
@pytest.mark.parametrize("content", ["q2v-requests 2\n", "{}", "SQLite format 4" + "\0" * 100])
def test_a_file_of_another_format_is_not_guessed_at(tmp_path: Path, content: str) -> None:
    path = tmp_path / "requests"
    path.write_text(content, encoding="ascii")

    with pytest.raises(ForeignStateError):
        open_budget(path, Machine())
    assert path.read_text(encoding="ascii") == content


@pytest.mark.fault("G14")
def test_a_table_of_a_later_version_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "requests"
    open_budget(path, Machine())
    with table(path) as rows:
        rows.execute("PRAGMA user_version = 3")

    with pytest.raises(ForeignStateError, match="format 3, expected 2"):
        open_budget(path, Machine())


@pytest.mark.parametrize("name", ["requests", "requests-journal", "requests.lock"])
def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    folder, elsewhere = tmp_path / "budget", tmp_path / "elsewhere"
    open_budget(folder / "requests", Machine())
    elsewhere.write_bytes(b"untouched")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(elsewhere)

    with pytest.raises(LocalStorageError):
        open_budget(folder / "requests", Machine())
    assert elsewhere.read_bytes() == b"untouched"


@pytest.mark.parametrize("requests_max", [0, -1, 1_201])
def test_a_maximum_beyond_the_account_is_refused(requests_max: int) -> None:
    with pytest.raises(UsageError):
        open_budget(None, Machine(), requests_max)


def test_the_last_allowed_maximum_is_taken() -> None:
    open_budget(None, Machine(), 1_200).acquire()


@pytest.mark.fault("I9")
def test_threads_of_one_process_share_one_count(tmp_path: Path) -> None:
    budget = RequestBudget(tmp_path / "requests", clock=SystemClock(), requests_max=200)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: budget.acquire(), range(160)))
    with table(tmp_path / "requests") as rows:
        (written,) = rows.execute("SELECT count(*) FROM spent WHERE why = 'request'").fetchone()

    assert budget.taken == 160
    assert written == 160


def test_what_several_wait_for_is_told_once(tmp_path: Path) -> None:
    """Another one begins to wait while the first does; a later wait is news again."""
    talker = Talker()

    class Shared(Machine):
        others: ClassVar[list[str]] = ["another"]

        @override
        def wait(self, seconds: float) -> None:
            if self.others:
                self.others.pop()
                budget.acquire(talker)
            super().wait(seconds)

    budget = open_budget(tmp_path / "requests", Shared(), 2)
    for _ in range(2):
        budget.acquire()

    budget.acquire(talker)
    budget.acquire(talker)

    told = [text.partition(",")[0] for text in talker.said]
    assert told == ["waiting 300 s", "waiting 240 s"]


@pytest.mark.fault("F21", "I9")
@pytest.mark.parametrize("shared", [True, False])
def test_a_request_counts_until_300_s_after_its_answer(tmp_path: Path, *, shared: bool) -> None:
    """The service counts it when it arrives: that is before the answer, and no sooner."""
    machine = Machine()
    budget = open_budget(tmp_path / "requests" if shared else None, machine, 2)
    first = budget.acquire(within_s=120)
    machine.wait(40)
    budget.release(first)
    second = budget.acquire(within_s=120)
    budget.release(second)

    budget.acquire(within_s=120)
    assert 340 <= machine.monotonic_s() < 341


@pytest.mark.fault("F21", "G13", "I9")
def test_a_request_without_an_answer_counts_to_its_deadline(tmp_path: Path) -> None:
    """As a kill leaves it; another process reads it."""
    machine, path = Machine(), tmp_path / "requests"
    open_budget(path, machine, 2).acquire(within_s=120.5)
    machine.wait(310)
    budget = open_budget(path, machine, 1)
    budget.acquire()

    assert 420.5 <= machine.monotonic_s() < 422


@pytest.mark.fault("F21")
def test_answers_of_requests_in_flight_together_are_told_apart(tmp_path: Path) -> None:
    machine = Machine()
    budget = open_budget(tmp_path / "requests", machine, 3)
    departures = []
    for _ in range(3):
        departures.append(budget.acquire(within_s=500))
        machine.wait(10)
    machine.wait(70)  # 100
    budget.release(departures[1])
    machine.wait(100)  # 200
    budget.release(departures[0])
    budget.release(departures[2])

    moments = []
    for _ in range(3):
        budget.release(budget.acquire(within_s=500))
        moments.append(machine.monotonic_s())
    assert [int(moment) for moment in moments] == [400, 500, 500]


def test_an_answer_that_cannot_be_noted_does_not_stop_the_run(tmp_path: Path) -> None:
    machine, path = Machine(), tmp_path / "requests"
    budget = open_budget(path, machine, 2)
    departed = budget.acquire(within_s=120)
    path.unlink()
    path.mkdir()
    budget.release(departed)

    assert budget.taken == 1


@pytest.mark.fault("F21", "I9")
def test_an_answer_that_another_process_notes_in_between_is_not_lost(tmp_path: Path) -> None:
    machine, path = Machine(), tmp_path / "requests"
    other, budget = open_budget(path, machine, 3), open_budget(path, machine, 3)
    earlier = other.acquire(within_s=120)
    departure = budget.acquire(within_s=120)
    other.release(earlier)
    budget.release(departure)
    budget.release(budget.acquire(within_s=120))
    assert machine.monotonic_s() == 0

    budget.acquire(within_s=120)
    assert 300 <= machine.monotonic_s() < 301
