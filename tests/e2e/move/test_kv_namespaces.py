"""KV namespaces of a jurisdiction or another mode, from provision to migrate."""

from pathlib import Path

import pytest

from tests.harness.running.workbench import Workbench, points, workbench

POINTS = 10


def _create(bench: Workbench, **members: str) -> str:
    """The id of a namespace that was made past q2v."""
    namespace_id = bench.ask_target("storage/kv/namespaces", members)["result"]["id"]
    assert isinstance(namespace_id, str)
    return namespace_id


@pytest.mark.slow
@pytest.mark.fault("F17")
def test_a_jurisdiction_is_chosen_at_provision_shown_by_plan_and_kept_to(tmp_path: Path) -> None:
    with workbench(tmp_path, points(POINTS), provision=False) as bench:
        made = bench.run("provision", "--kv-jurisdiction", "eu")
        bench.environment["Q2V_KV_NAMESPACE_ID"] = made.document["kv_namespace_id"]
        again = bench.run("provision", "--kv-jurisdiction", "eu", as_json=False)
        planned = bench.run("plan", "--kv-jurisdiction", "eu")
        shown = bench.run("plan", "--details", as_json=False)
        other = bench.run("plan", "--kv-jurisdiction", "us")
        bench.run("snapshot")
        refused = bench.run("migrate", "--kv-jurisdiction", "us")
        entries = bench.entries()
        moved = bench.run("migrate", "--kv-jurisdiction", "eu")

    assert made.document["kv_jurisdiction"] == "eu"
    assert again.exit_code == 0
    assert "jurisdiction eu" in again.stdout
    assert planned.document["target"]["kv_namespace"]["jurisdiction"] == "eu"
    assert "jurisdiction eu" in shown.stdout
    assert (other.exit_code, refused.exit_code) == (5, 5)
    assert "has jurisdiction eu, target.kv_jurisdiction asks for us" in refused.stderr
    assert entries == {}
    assert moved.exit_code == 0


@pytest.mark.slow
@pytest.mark.fault("F17")
def test_kv_instant_is_refused_with_its_limits_before_anything_is_written(tmp_path: Path) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        bench.run("snapshot")
        instant = _create(bench, title="instant", mode="instant")
        bench.environment["Q2V_KV_NAMESPACE_ID"] = instant
        results = [bench.run(command) for command in ("provision", "plan", "migrate")]
        bench.environment["Q2V_KV_NAMESPACE_ID"] = "0" * 32
        absent = [bench.run(command) for command in ("provision", "plan", "migrate")]
        stored = bench.stored()

    assert [result.exit_code for result in results] == [5, 5, 5]
    assert all("10,000 keys" in result.stderr for result in results)
    assert [result.exit_code for result in absent] == [5, 5, 5]
    assert all("does not exist in this account" in result.stderr for result in absent)
    assert stored == {}


@pytest.mark.slow
@pytest.mark.fault("F17")
def test_every_command_that_shows_the_counter_says_what_it_counts(tmp_path: Path) -> None:
    counted = "all vectors of the index, those of others included"
    with workbench(tmp_path, points(POINTS)) as bench:
        bench.run("snapshot")
        commands = ("plan", "migrate", "status", "reconcile", "rollback")
        more = {"plan": ["--details"]}
        shown = {name: bench.run(name, *more.get(name, []), as_json=False) for name in commands}
        (page,) = bench.directory.rglob("report.html")
        text = page.read_text()

    assert {name: result.exit_code for name, result in shown.items()} == dict.fromkeys(commands, 0)
    assert [name for name, result in shown.items() if counted not in result.stdout] == []
    assert counted in text


@pytest.mark.fault("F17", "F20")
@pytest.mark.parametrize("title", ["", " ", "t" * 505, "a\nb"])
def test_a_title_that_no_namespace_can_have_is_refused(tmp_path: Path, title: str) -> None:
    with workbench(tmp_path, points(1), provision=False) as bench:
        made = bench.run("provision", "--kv-title", title)

    assert made.exit_code == 2
    assert "--kv-title" in made.stderr
