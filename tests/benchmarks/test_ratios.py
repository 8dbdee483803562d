"""Each hot step against its floor, in one process and in turn: no figure here is a time.

The demands are those of `make bench`, which measures longer and on a quiet machine. Here they have
slack. `make faults` runs those that measure; `make check` runs the rest.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import diff, edge, whole
from benchmarks.cases import catch_up, rules
from benchmarks.made import Points
from benchmarks.measure import Line
from benchmarks.packing import packing_lines
from benchmarks.scrolls import scroll_lines, scrolls, snapshot_lines
from benchmarks.steps import Steps
from tests.harness.running.programs import output_of_python

pytestmark = pytest.mark.usefixtures("real_storage")
ROWS = 1_000
SLACK = 0.5
POINTS = 4_000  # more than any page, row group or part holds
HEAVY = {"numpy", "pyarrow", "duckdb", "grpc", "qdrant_client", "httpx", "pydantic", "orjson"}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    return Steps(tmp_path_factory.mktemp("steps"), ROWS)


def check(lines: Iterable[Line]) -> None:
    """Every line that demands something, with slack."""
    for line in lines:
        assert line.demand.holds(line.figure, slack=SLACK), str(line)


@pytest.mark.search
def test_the_verifier_needs_little_cpu_and_memory(tmp_path: Path) -> None:
    check(edge.lines(tmp_path))


@pytest.mark.search
def test_encoding_costs_little_more_than_formatting_the_numbers(steps: Steps) -> None:
    check(steps.encode_lines())


@pytest.mark.slow
def test_a_value_takes_no_more_text_than_it_needs(steps: Steps) -> None:
    (line,) = (line for line in steps.encode_lines() if line.unit == "B")

    assert line.demand.holds(line.figure), str(line)


@pytest.mark.search
def test_scrolls_and_snapshots_keep_their_distance(steps: Steps, tmp_path: Path) -> None:
    """From the client's own scroll, and from a tool that writes Parquet and checks less."""
    with scrolls(ROWS) as there:
        check(scroll_lines(there, rounds=3))
        *ours, peer = snapshot_lines(there, steps, tmp_path, rounds=3)

    check(ours)
    assert peer.figure > 2, str(peer)


@pytest.mark.search
@pytest.mark.fault("F26")
def test_a_server_that_is_offered_gzip_works_several_times_as_much() -> None:
    check(packing_lines(ROWS, rounds=1))


@pytest.mark.search
def test_ten_rules_cost_a_plan_little(tmp_path: Path) -> None:
    check(rules.lines(tmp_path, points=20_000, dimensions=(64,), rounds=1))


@pytest.mark.search
def test_a_catch_up_of_few_changes_measures_itself(tmp_path: Path) -> None:
    check(catch_up.lines(tmp_path, points=2_000))


@pytest.mark.search
def test_memory_beyond_that_of_next_to_nothing_is_within_the_demands(tmp_path: Path) -> None:
    small, moved = whole.move(whole.EMPTY, tmp_path), whole.move(POINTS, tmp_path)

    for line in [*whole.memory_lines(small, moved), whole.request_line(moved)]:
        assert line.demand.holds(line.figure), str(line)


@pytest.mark.slow
def test_a_comparison_of_listed_ids_measures_itself(tmp_path: Path) -> None:
    found = diff.measure(5_000, tmp_path)

    assert found["cpu_s"] > 0
    assert found["peak_mb"] > 10


def test_help_loads_none_of_the_libraries_that_take_long() -> None:
    program = (
        "import sys, contextlib\n"
        "from q2v.main import cli\n"
        "with contextlib.suppress(SystemExit):\n"
        "    cli.main(['--help'])\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    shown = output_of_python("-c", program)

    assert "snapshot" in shown
    assert shown.splitlines()[-1] == "[]"


def test_made_points_are_what_a_server_would_send() -> None:
    """The benchmarks' source puts answers together from bytes: they have to be true ones."""
    points = Points(2_345, dimensions=96)
    found = points.decode(points.scroll(995, 1_100, whole=True))

    assert [number for number, _, _ in found] == list(range(995, 995 + 1_100))
    for number, payload, values in found:
        assert payload == points.payload(number)
        assert values == points.pool[number % len(points.pool)].tolist()
        assert points.number(points.vector_id(number)) == number


def test_every_hundredth_made_point_changes() -> None:
    before = Points(300, dimensions=96)
    after = replace(before, changed_every=100)
    found = after.decode(after.scroll(0, 300, whole=True))

    assert [payload for _, payload, _ in found] == [after.payload(number) for number in range(300)]
    differ = [number for number in range(300) if before.payload(number) != after.payload(number)]
    assert differ == [0, 100, 200]
