"""Memory and open files: a collection ten times as large needs no more of either.

Real processes, and a source that makes its points as they are asked for.
"""

import resource
from pathlib import Path

import pytest

from benchmarks.commands import place
from tests.harness.running.workbench import Workbench, points, workbench

SIZE = 1_500
TEXT_REPEATED = 100  # a payload of 4 kB: fifteen thousand held at once would be 60 MB
# What is held at a time is less than the smaller collection, or that one would not fill it.
SETTINGS = {
    "Q2V_SNAPSHOT_PAGE_POINTS": "100",
    "Q2V_SNAPSHOT_READERS": "1",  # the smaller collection has one part only
    "Q2V_LIMITS_VECTORS_PER_UPLOAD": "200",
}
GROWTH_MAX = 1.2  # fault matrix row G07


@pytest.mark.slow
@pytest.mark.fault("G07")
def test_peak_memory_is_the_same_for_ten_times_the_points(tmp_path: Path) -> None:
    small, large = (_peaks(size, tmp_path / str(size)) for size in (SIZE, 10 * SIZE))

    for name, peak in large.items():
        assert peak < GROWTH_MAX * small[name], f"{name}: {small[name]} MB, then {peak} MB"


def _peaks(size: int, folder: Path) -> dict[str, int]:
    """Peak MB of each command."""
    with place(
        size,
        folder,
        dimensions=64,
        reduced=32,
        text_repeated=TEXT_REPEATED,
        settings=SETTINGS,
    ) as there:
        names = ("snapshot", "migrate", "reconcile", "archive")
        return {name: there.run(name).peak_mb for name in names}


@pytest.mark.slow
@pytest.mark.fault("G07")
def test_few_open_files_are_enough_for_many_parts_and_uploads(tmp_path: Path) -> None:
    with workbench(
        tmp_path, points(300), settings={"Q2V_LIMITS_VECTORS_PER_UPLOAD": "10"}
    ) as bench:
        for command in ("snapshot", "migrate", "reconcile"):
            exit_code, told = _run_with_open_files(bench, command, at_most=40)
            assert exit_code == 0, told
        assert len(bench.stored()) == 300


@pytest.mark.slow
@pytest.mark.fault("G07")
def test_too_few_open_files_are_a_local_failure_and_nothing_is_lost(tmp_path: Path) -> None:
    """However few they are: an exit code of the table, and with enough of them it goes on."""
    with workbench(tmp_path, points(30)) as bench:
        bench.run("snapshot")
        for at_most in range(4, 20, 4):
            exit_code, told = _run_with_open_files(bench, "migrate", at_most=at_most)
            assert exit_code in {0, 7, 9}, f"{at_most} files: exit {exit_code}: {told}"
        assert bench.run("migrate").exit_code == 0
        assert bench.run("reconcile").exit_code == 0


def _run_with_open_files(bench: Workbench, command: str, *, at_most: int) -> tuple[int, str]:
    """A command whose process may not have more files open at once once it runs."""
    program = (
        "import resource, q2v.main, migrate.cloudflare.client.client\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({at_most}, {at_most}))\n"
        "q2v.main.main()"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= at_most
    done = bench.run_process(command, program=program)
    return done.exit_code, done.stderr
