"""Go or no-go: each row of the gate can fail, and each can be stale, for a real cause."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.clock import SystemClock
from migrate.errors import ExitCode
from migrate.model.stamps import iso_stamp
from q2v import wiring
from reconcile.gate.criteria import Criterion
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import Result
from tests.harness.tiers import one_in

POINTS = 70  # ten files; the sampled ones are the first, the last, and three in between
UNTOUCHED = "file-0001"  # a file that no sample is of
COUNTER = "_vector_count"
LATER = "2036-01-01T00:00+00:00"
INDEXES = {"Q2V_TARGET_METADATA_INDEXES": "file_id:string,file_name:string"}
ROWS = [criterion.word for criterion in Criterion]


class AheadClock(SystemClock):
    """The time of this machine and five hours."""

    @override
    def wall_s(self) -> float:
        """Seconds since 1970."""
        return super().wall_s() + 5 * 3_600


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a move that was compared in full, with its target; copied for each test."""
    folder = tmp_path_factory.mktemp("gate") / "moved"
    with workbench(folder, points(POINTS), settings=INDEXES) as bench:
        assert bench.move().exit_code == 0
        assert bench.run("reconcile", "--full").exit_code == 0
        (folder / "namespace").write_text(bench.namespace_id, encoding="utf-8")
    return folder


@pytest.fixture
def bench(moved: Path, tmp_path: Path) -> Iterator[Workbench]:
    """A move of its own for a test."""
    folder = tmp_path / "moved"
    shutil.copytree(moved, folder)
    settings = {
        "Q2V_KV_NAMESPACE_ID": (folder / "namespace").read_text(encoding="utf-8"),
        **INDEXES,
    }
    with workbench(folder, points(POINTS), settings=settings, provision=False) as opened:
        yield opened


def gate(bench: Workbench, *words: str, until: str = LATER) -> Result:
    return bench.run("gate", "--until", until, *words)


def verdicts(result: Result) -> dict[str, str]:
    return {row["criterion"]: row["verdict"] for row in result.document["rows"]}


def not_passed(result: Result) -> dict[str, str]:
    return {row: verdict for row, verdict in verdicts(result).items() if verdict != "pass"}


def drop_index(bench: Workbench, name: str) -> None:
    """As `wrangler vectorize delete-metadata-index`."""
    path = f"vectorize/v2/indexes/{bench.index}/metadata_index/delete"
    bench.ask_target(path, {"propertyName": name})


def flip(file: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def change_the_source(bench: Workbench) -> str | None:
    first, *rest = bench.collection.points
    changed = {**(first.payload or {}), "text": "new"}
    bench.collection.points = [replace(first, payload=changed), *rest]
    return "reconcile"


def damage_the_snapshot(bench: Workbench) -> str | None:
    (part,) = bench.directory.glob("*/parts/*.parquet")
    flip(part)
    return None


def refuse_a_point(bench: Workbench) -> str | None:
    """A point that was left out, and whose reason nobody has accepted."""
    bench.directory.rename(bench.directory.with_name("former"))
    first, *rest = bench.collection.points
    assert first.payload is not None
    without = {name: value for name, value in first.payload.items() if name != "file_id"}
    bench.collection.points = [*rest, replace(first, payload=without)]
    bench.sandbox.store.remove_vector(bench.index, "file-0000_0")
    taken = bench.run("snapshot")
    assert taken.exit_code == 0, taken.stderr
    moved = bench.run("migrate", "--into-non-empty", "--max-quarantine", "1")
    assert moved.exit_code == 3, moved.stderr
    return "reconcile"


def add_a_vector(bench: Workbench) -> str | None:
    bench.sandbox.store.put_vector(bench.index, "of-another", [1.0] * DIMENSIONS, {})
    return "reconcile"


def change_a_vector(bench: Workbench) -> str | None:
    name = f"{UNTOUCHED}_3"
    metadata = bench.stored()[name][1]
    bench.sandbox.store.put_vector(bench.index, name, [1.0] * DIMENSIONS, metadata)
    return "reconcile"


def change_an_entry(bench: Workbench) -> str | None:
    bench.sandbox.store.put_kv(bench.namespace_id, f"file:{UNTOUCHED}", b"[]")
    return "reconcile"


def change_the_counter(bench: Workbench) -> str | None:
    bench.sandbox.store.put_kv(bench.namespace_id, COUNTER, b"1")
    return "reconcile"


def drop_a_metadata_index(bench: Workbench) -> str | None:
    drop_index(bench, "file_name")
    return "reconcile"


def change_a_sampled_entry(bench: Workbench) -> str | None:
    bench.sandbox.store.put_kv(bench.namespace_id, "file:file-0000", b'["file-0000_0"]')
    return None


def damage_a_pre_image(bench: Workbench) -> str | None:
    (kept,) = bench.directory.glob("*/runs/*/pre-images/kv.parquet")
    flip(kept)
    return None


def revoke_the_token(bench: Workbench) -> str | None:
    bench.environment["CLOUDFLARE_API_TOKEN"] = "another-token-0123456789abcdef"
    return None


def nothing(bench: Workbench) -> str | None:
    return None


CAUSES: dict[Criterion, Callable[[Workbench], str | None]] = {
    Criterion.FREEZE: change_the_source,
    Criterion.SNAPSHOT: damage_the_snapshot,
    Criterion.POINTS: refuse_a_point,
    Criterion.IDS: add_a_vector,
    Criterion.CONTENTS: change_a_vector,
    Criterion.KV_INDEX: change_an_entry,
    Criterion.COUNTER: change_the_counter,
    Criterion.FILTERS: drop_a_metadata_index,
    Criterion.QUERIES: change_a_sampled_entry,
    Criterion.ROLLBACK: damage_a_pre_image,
    Criterion.RIGHTS: revoke_the_token,
    Criterion.WINDOW: nothing,
}


@pytest.mark.fault("J01")
def test_a_move_that_was_compared_whole_is_a_go_and_the_next_step_is_the_cutover(
    bench: Workbench,
) -> None:
    before = bench.state()
    first = gate(bench)
    shown = bench.run("gate", "--until", LATER, as_json=False)

    assert first.exit_code == 0, first.stdout
    assert first.document["verdict"] == "go"
    assert list(verdicts(first)) == ROWS
    assert first.document["situation"] == "go"
    assert "the cutover is your decision" in first.document["next"]
    assert all(row["place"] and row["found"] for row in first.document["rows"])
    rights = next(row for row in first.document["rows"] if row["criterion"] == "rights")
    assert "source.api_key is a plain key" in rights["found"]
    assert shown.exit_code == 0
    assert shown.stdout.count("\n-  ") == len(first.document["of_the_operator"]) > 0
    assert bench.state() == before
    assert Path(first.document["record"]).is_file()
    assert bench.run("status").document["situation"] == "go"


@pytest.mark.slow
@pytest.mark.fault("J01")
@pytest.mark.parametrize("criterion", one_in(3, CAUSES))
def test_one_cause_makes_exactly_its_row_fail(bench: Workbench, criterion: Criterion) -> None:
    command = CAUSES[criterion](bench)
    if command is not None:
        assert bench.run(command, "--full").exit_code in {0, 3, 4}
    until = iso_stamp(SystemClock().wall_s() + 1) if criterion is Criterion.WINDOW else LATER

    result = gate(bench, until=until)

    failed = [row for row, verdict in verdicts(result).items() if verdict == "fail"]
    assert failed == [criterion.word], result.stdout
    assert result.exit_code == criterion.code
    assert result.document["verdict"] == "no-go"
    (row,) = [row for row in result.document["rows"] if row["verdict"] == "fail"]
    assert row["do"] == criterion.do


@pytest.mark.slow
@pytest.mark.fault("J02")
def test_after_a_write_everything_that_a_reconcile_or_a_gate_found_is_stale(
    bench: Workbench,
) -> None:
    assert gate(bench).exit_code == 0
    change_a_vector(bench)
    assert bench.run("reconcile").exit_code == 4
    assert bench.run("migrate").exit_code == 0

    result = bench.run("gate", "--until", LATER, "--recorded")

    of_files = {"points", "parity", "window"}
    assert not_passed(result) == {row: "stale" for row in ROWS if row not in of_files}
    assert result.exit_code == 13
    assert bench.run("status").document["situation"] == "written"


@pytest.mark.fault("J02")
def test_evidence_that_is_too_old_is_stale(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gate(bench).exit_code == 0
    monkeypatch.setattr(wiring, "system_clock", AheadClock)

    result = bench.run("gate", "--until", LATER, "--recorded")
    longer = bench.run("gate", "--until", LATER, "--recorded", "--max-age", "360")

    as_it_stands = {"points", "parity", "window"}
    assert not_passed(result) == {row: "stale" for row in ROWS if row not in as_it_stands}
    assert longer.exit_code == 0, longer.stdout


@pytest.mark.slow
@pytest.mark.fault("J03")
def test_a_later_snapshot_makes_every_row_stale(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        assert bench.move().exit_code == 0
        assert bench.run("reconcile").exit_code == 0
        bench.collection.points = bench.collection.points[11:]
        assert bench.run("catch-up", "--frozen", "--max-delete", "0").exit_code == 5
        (run,) = bench.directory.glob("*/runs/*/targets.parquet")

        result = bench.run("gate", str(run.parent), "--until", LATER)

    assert len(list(bench.directory.glob("*/manifest.json"))) == 2
    assert set(verdicts(result).values()) == {"stale"}
    assert "continues from the one that this run has moved" in result.document["rows"][0]["found"]


@pytest.mark.slow
@pytest.mark.fault("J02")
def test_without_a_reconcile_or_an_end_of_the_window_there_is_no_go(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        assert bench.move().exit_code == 0
        result = bench.run("gate")
        unread = bench.run("gate", "--recorded", "--until", "soon")

    assert result.exit_code == 13
    assert {row for row, verdict in verdicts(result).items() if verdict == "unknown"} == {
        "freeze", "ids", "contents", "kv index", "counter", "filters", "rollback", "window"
    }  # fmt: skip
    assert unread.exit_code == 2
    example = unread.stderr.split("write it as ")[1].split()[0].rstrip('"')
    assert datetime.fromisoformat(example).timestamp() > SystemClock().wall_s()


@pytest.mark.fault("J02")
def test_a_window_that_has_just_ended_is_not_that_of_tomorrow(bench: Workbench) -> None:
    ended_s = SystemClock().wall_s() - 120

    result = gate(bench, until=iso_stamp(ended_s)[11:16])

    assert result.exit_code == ExitCode.PRECONDITION
    assert not_passed(result) == {"window": "fail"}
    window = next(row for row in result.document["rows"] if row["criterion"] == "window")
    assert "it ended" in window["found"]
    assert iso_stamp(ended_s)[:16] in window["found"]


@pytest.mark.fault("J02")
def test_a_run_that_is_rolled_back_is_a_no_go_with_one_advice_which_is_not_refused(
    bench: Workbench,
) -> None:
    undone = bench.run("rollback", "--execute")
    assert undone.exit_code == 0, undone.stderr

    result = gate(bench)

    advice = {row["criterion"]: row["do"] for row in result.document["rows"] if row["do"]}
    assert list(advice) == ["points"]
    assert "`next`" in advice["points"]
    (row,) = [row for row in result.document["rows"] if row["criterion"] == "points"]
    assert f"is rolled back: what it wrote of {POINTS} points is undone" in row["found"]
    assert result.exit_code == ExitCode.PRECONDITION
    assert result.document["situation"] == "rolled_back"
    (command,) = re.findall("`q2v ([^`]*)`", result.document["next"])
    assert bench.run(*command.split()).exit_code == 0


@pytest.mark.fault("J04")
def test_a_record_that_was_changed_is_not_believed(bench: Workbench) -> None:
    record = Path(gate(bench).document["record"])
    record.write_bytes(record.read_bytes().replace(b'"no-go"', b'"go"').replace(b'"go"', b'"g0"'))

    result = bench.run("gate", "--until", LATER, "--recorded")

    assert result.exit_code == 10
    assert str(record) in result.stderr


VERSION = "5c1d0ab8-9ff6-4c6e-8f3e-2f5b1d7c9a10"


@pytest.mark.slow
@pytest.mark.fault("B07")
def test_the_way_back_deploys_the_version_that_the_gate_recorded(bench: Workbench) -> None:
    unknown = bench.run("rollback")
    in_words = bench.run("rollback", as_json=False).stdout
    gated = gate(bench, "--worker-version", VERSION.upper())
    gate(bench)
    known = bench.run("rollback")

    back = ["wrangler", "rollback", VERSION, "--message=q2v: readers back to Qdrant", "--yes"]
    assert gated.document["worker_version"] == VERSION
    assert back in known.document["commands_before"]
    lists = [["wrangler", "deployments", "list"], ["wrangler", "versions", "list"]]
    assert unknown.document["commands_before"][:2] == lists
    assert unknown.document["commands_before"][2][2] == "VERSION", "no version is taken by chance"
    assert "VERSION is the id of the version that ran before the cutover" in in_words


@pytest.mark.slow
@pytest.mark.fault("B07")
def test_a_changed_record_of_a_gate_is_no_obstacle_on_the_way_back(bench: Workbench) -> None:
    record = Path(gate(bench, "--worker-version", VERSION).document["record"])
    record.write_bytes(record.read_bytes().replace(VERSION[:8].encode(), b"00000000"))

    preview = bench.run("rollback")
    undone = bench.run("rollback", "--execute")

    assert preview.exit_code == 0, preview.stderr
    assert undone.exit_code == 0, undone.stderr
    assert undone.document["commands_before"][2][2] == "VERSION"


def test_what_is_no_id_of_a_version_is_refused(bench: Workbench) -> None:
    refused = gate(bench, "--worker-version", "--env=x")

    assert refused.exit_code == ExitCode.USAGE
    assert "as `wrangler deployments list` shows it" in refused.stderr
