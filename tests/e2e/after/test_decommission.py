"""Qdrant is taken away only when everything is proven, and each line can be unproven."""

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.clock import SystemClock
from migrate.wrangler.commands import OLD_SECRETS, secret_delete_commands
from q2v import wiring
from reconcile.monitor.history import DAY_S, DAYS_WANTED
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import Result
from tests.harness.tiers import one_in

pytestmark = pytest.mark.slow

LATER = "2036-01-01T00:00+00:00"


class LaterClock(SystemClock):
    """The time of this machine, and some days."""

    days = 0.0

    @override
    def wall_s(self) -> float:
        """Seconds since 1970."""
        return super().wall_s() + self.days * DAY_S


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """A move that said go, on a clock that tests may set."""
    LaterClock.days = 0.0
    monkeypatch.setattr(wiring, "system_clock", LaterClock)
    with workbench(tmp_path, points(20)) as opened:
        assert opened.move().exit_code == 0
        assert opened.run("reconcile").exit_code == 0
        yield opened


def gate(bench: Workbench) -> None:
    assert bench.run("gate", "--until", LATER).exit_code == 0


def watch_a_week(bench: Workbench, *, days: int = DAYS_WANTED) -> None:
    for day in range(days + 1):
        LaterClock.days = float(day)
        assert bench.run("monitor").exit_code == 0


def archive(bench: Workbench) -> None:
    assert bench.run("archive").exit_code == 0


def unproven(result: Result) -> list[str]:
    return [item["name"] for item in result.document["items"] if not item["proven"]]


@pytest.mark.slow
@pytest.mark.fault("W06")
def test_when_everything_is_proven_it_says_done_and_what_people_do_next(bench: Workbench) -> None:
    gate(bench)
    watch_a_week(bench)
    archive(bench)
    state = bench.state()

    done = bench.run("decommission")
    shown = bench.run("decommission", as_json=False)

    assert done.exit_code == 0, done.stdout
    assert done.document["done"] is True
    assert any("secret delete" in one["command"] for one in done.document["commands"])
    deletes = [shlex.join(argv) for argv in secret_delete_commands(OLD_SECRETS, env=None)]
    named = [one["command"] for one in done.document["commands"]]
    assert [one for one in named if "secret delete" in one] == deletes
    assert all(line in shown.stdout for line in deletes)
    assert bench.state() == state


@pytest.mark.slow
@pytest.mark.fault("W06")
def test_at_first_nothing_but_the_run_is_proven(bench: Workbench) -> None:
    result = bench.run("decommission")
    shown = bench.run("decommission", as_json=False)

    assert result.exit_code == 5
    assert unproven(result) == ["gate", "week", "archive"]
    assert "delete nothing of Qdrant" in shown.stdout
    assert "secret delete" not in shown.stdout


def without_gate(bench: Workbench) -> None:
    for record in bench.directory.glob("*/runs/*/gate/*.json"):
        record.unlink()


def without_archive(bench: Workbench) -> None:
    for file in bench.directory.glob("*.q2v.tar.zst"):
        file.unlink()


def with_damage(bench: Workbench) -> None:
    (file,) = bench.directory.glob("*.q2v.tar.zst")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def with_the_archive_of_another_run(bench: Workbench) -> None:
    """Under the name of this run's archive: whole, final, and about another migration."""
    (file,) = bench.directory.glob("*.q2v.tar.zst")
    with workbench(bench.directory.parent / "other", points(5)) as other:
        assert other.move().exit_code == 0
        assert other.run("reconcile").exit_code == 0
        archive(other)
        (foreign,) = other.directory.glob("*.q2v.tar.zst")
        shutil.copyfile(foreign, file)


def after_a_later_snapshot(bench: Workbench) -> None:
    """The source has changed, and the change was sealed and not moved."""
    kept = bench.collection.points
    bench.collection.points = kept[11:]  # more than may go without consent
    caught = bench.run("catch-up", "--frozen", "--max-delete", "0")
    assert caught.exit_code == 5, caught.stderr
    bench.collection.points = kept


def repair(bench: Workbench) -> None:
    """The run writes again, and is equal again."""
    bench.sandbox.store.remove_vector(bench.index, "file-0000_1")
    assert bench.run("reconcile").exit_code == 4
    assert bench.run("migrate").exit_code == 0
    assert bench.run("reconcile").exit_code == 0


def after_a_repair(bench: Workbench) -> None:
    """The run has written since the archive, and the gate was asked again."""
    repair(bench)
    gate(bench)


def after_a_repair_without_a_gate(bench: Workbench) -> None:
    """The run has written since the gate, and was archived again."""
    repair(bench)
    without_archive(bench)
    archive(bench)


def with_a_broken_day(bench: Workbench) -> None:
    bench.sandbox.store.remove_vector(bench.index, "file-0000_1")
    assert bench.run("monitor").exit_code == 4


def after_a_gap(bench: Workbench) -> None:
    LaterClock.days += 3


@pytest.mark.slow
@pytest.mark.fault("W06")
@pytest.mark.parametrize(
    ("spoil", "expected"),
    one_in(
        3,
        [
            (without_gate, "gate"),
            (with_damage, "archive"),
            (with_the_archive_of_another_run, "archive"),
            (without_archive, "archive"),
            (after_a_repair, "archive"),
            (after_a_repair_without_a_gate, "gate"),
            (with_a_broken_day, "week"),
            (after_a_later_snapshot, "gate"),
            (after_a_gap, "week"),
        ],
    ),
)
def test_one_line_alone_can_be_unproven(
    bench: Workbench, spoil: Callable[[Workbench], None], expected: str
) -> None:
    gate(bench)
    watch_a_week(bench)
    archive(bench)
    spoil(bench)

    result = bench.run("decommission")

    assert unproven(result) == [expected], result.stdout
    assert result.exit_code == 5


@pytest.mark.slow
@pytest.mark.fault("W06")
def test_a_run_that_was_rolled_back_is_no_reason_to_take_the_source_away(bench: Workbench) -> None:
    gate(bench)
    archive(bench)
    assert bench.run("rollback", "--execute").exit_code == 0

    assert unproven(bench.run("decommission")) == ["run", "gate", "week", "archive"]
