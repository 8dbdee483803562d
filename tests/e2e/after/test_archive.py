"""`q2v archive` and `q2v verify`, as an operator types them, and the archive without q2v."""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder
from q2v.main import cli
from tests.harness.running.programs import run_program
from tests.harness.running.secrecy import assert_secret_absent
from tests.harness.running.workbench import API_KEY, API_TOKEN, Workbench, chunk, points, workbench
from tests.migrate.archive.archives import forged, members, unpacked
from tests.servers.qdrant_points import StoredPoint

POINTS = 60
KEY, OTHER_KEY = "5f" * 32, "a1" * 32
HMAC = "Q2V_SNAPSHOT_HMAC_KEY"
UUID = "11111111-2222-4333-8444-555555555555"


def caught_up(bench: Workbench) -> None:
    """A move, then points changed, deleted and added, moved too; both runs are equal."""
    assert bench.move().exit_code == 0
    assert bench.run("reconcile").exit_code == 0
    held = bench.collection.points
    payload = held[3].payload
    assert payload is not None
    held[3] = replace(held[3], payload={**payload, "last_modified": "2026-11-28T00:00:00Z"})
    del held[10:12]
    held.append(StoredPoint(id=UUID, vectors=held[0].vectors, payload=chunk("added", 0)))
    bench.collection.points = sorted(held, key=lambda point: point.key)
    assert bench.run("catch-up", "--frozen").exit_code == 0
    assert bench.run("reconcile").exit_code == 0


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workbench, Path]]:
    """A move with a catch-up, and its archive."""
    with workbench(tmp_path_factory.mktemp("moved"), points(POINTS)) as bench:
        caught_up(bench)
        done = bench.run("archive")
        assert done.exit_code == 0, done.stderr
        yield bench, Path(done.document["path"])


def q2v(*words: str) -> tuple[int, dict[str, object]]:
    """A command that knows no setting and no --dir."""
    result = CliRunner().invoke(cli, [*words, "--json"], env={})
    return result.exit_code, json.loads(result.stdout)


def verified(path: Path) -> int:
    """The exit code of `q2v verify`."""
    return q2v("verify", str(path))[0]


# --- the file --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_archive_has_its_place_and_says_what_is_in_it(moved: tuple[Workbench, Path]) -> None:
    bench, path = moved
    again = bench.run("archive")
    shown = bench.run("archive", as_json=False)
    content = path.read_bytes()
    run = json.loads(max(bench.directory.glob("*/runs/*/plan.json")).read_bytes())

    assert path == bench.directory / f"{run['snapshot_id']}-{run['run_id']}.q2v.tar.zst"
    assert again.document == {
        "path": str(path),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "snapshot_id": run["snapshot_id"],
        "run_id": run["run_id"],
        "chain": sorted(one.parent.name for one in bench.directory.glob("*/manifest.json")),
        "runs": 2,
        "files": len(members(content)) - 1,
        "file_bytes": sum(map(len, members(content).values()))
        - len(next(iter(members(content).values()))),
        "final": True,
        "why_not_final": None,
        "reused": True,
        "left_out": [],
        "verified": True,
    }
    assert "it was there already" in shown.stdout
    assert f"q2v verify {path}" in shown.stdout
    assert path.stat().st_mode & 0o777 == 0o600


def test_verify_needs_nothing_but_the_file(
    moved: tuple[Workbench, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, path = moved
    alone = Path(shutil.copy(path, tmp_path / "kept for ten years"))
    monkeypatch.chdir(tmp_path)

    code, document = q2v("verify", alone.name)
    in_the_folder = bench.run("verify", path.name)
    shown = bench.run("verify", str(path), as_json=False)

    assert (code, document["verified"], document["final"]) == (0, True, True)
    assert (document["points"], document["plans"]) == (POINTS - 1, 2)
    assert (document["bytes"], document["hmac_checked"]) == (path.stat().st_size, False)
    assert in_the_folder.document == {**document, "archive": str(path)}
    assert "every byte and every digest is as it was archived" in shown.stdout
    assert [one.name for one in tmp_path.iterdir()] == [alone.name]


def test_a_snapshot_is_still_verified_by_its_name(moved: tuple[Workbench, Path]) -> None:
    bench, _ = moved
    newest = max(bench.directory.glob("*/manifest.json")).parent

    for named in (newest.name, str(newest)):
        assert bench.run("verify", named).document["snapshot_id"] == newest.name


@pytest.mark.fault("A01")
def test_damage_is_exit_10_and_names_the_member(
    moved: tuple[Workbench, Path], tmp_path: Path
) -> None:
    _, path = moved
    content = path.read_bytes()
    bad = bytearray(unpacked(content))
    bad[bad.index(b"PAR1") + 4] ^= 1
    damaged, cut = tmp_path / "damaged", tmp_path / "cut"
    damaged.write_bytes(content[:2000] + bytes([content[2000] ^ 1]) + content[2001:])
    cut.write_bytes(content[:-1000])

    result = CliRunner().invoke(cli, ["verify", str(damaged)], env={})

    assert result.exit_code == ExitCode.DAMAGED
    assert f"{damaged}:" in result.stderr
    assert "take another copy of the archive" in result.stderr
    assert verified(cut) == ExitCode.DAMAGED


# --- without q2v -----------------------------------------------------------------------------


def commands(readme: str, language: str) -> list[str]:
    """The blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def unpacked_folder(
    moved: tuple[Workbench, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What the README's own command makes of the archive; needs GNU tar and zstd."""
    _, path = moved
    folder = tmp_path_factory.mktemp("later")
    shutil.copy(path, folder)
    (readme,) = (
        value.decode()
        for name, value in members(path.read_bytes()).items()
        if name.endswith("/README.md")
    )
    (typed,) = commands(readme, "sh")
    done = run_program("bash", "-euc", f"{typed}\npwd", cwd=folder)
    assert done.returncode == 0, f"are tar and zstd installed? {done.stderr}"
    assert done.stderr == "", "tar warns of nothing"
    return Path(done.stdout.strip())


def answers(folder: Path) -> list[list[tuple[object, ...]]]:
    """What duckdb answers to every statement of the README, in order."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    found = []
    with contextlib.chdir(folder), duckdb.connect() as database:
        for block in commands(readme, "sql"):
            for statement in duckdb.extract_statements(block):
                found.append(database.execute(statement).fetchall())
    return found


@pytest.mark.fault("A07")
def test_duckdb_alone_reads_it_with_the_commands_of_its_readme(
    moved: tuple[Workbench, Path], unpacked_folder: Path
) -> None:
    bench, _ = moved
    unequal, _, count, first, targets, former, journal, verdicts = answers(unpacked_folder)

    assert unequal == []
    assert count == [(POINTS - 1,)]
    stored = bench.collection.points
    for row, (point, found) in enumerate(zip(stored[:3], first, strict=True)):
        assert found[:2] == (row, str(point.id))
        assert found[2] == pytest.approx(point.vectors[""])
        assert json.loads(str(found[3])) == point.payload
    assert len(targets) == 3
    assert ("added_0", False, None) in former
    assert ("round_completed", 1) in journal
    assert [verdict for _, verdict, _ in verdicts] == ["equal"]


@pytest.mark.fault("A07")
def test_the_view_of_the_readme_gives_every_point_of_the_chain_in_order(
    moved: tuple[Workbench, Path], unpacked_folder: Path
) -> None:
    bench, _ = moved
    readme = (unpacked_folder / "README.md").read_text(encoding="utf-8")
    view = next(block for block in commands(readme, "sql") if "VIEW points" in block)
    target = max(unpacked_folder.glob("*/runs/*/targets.parquet"))
    with contextlib.chdir(unpacked_folder), duckdb.connect() as database:
        database.execute(view)
        rows = database.execute("SELECT row, point_id, payload FROM points ORDER BY row").fetchall()
        joined = database.execute(
            f"SELECT vector_id, payload FROM points JOIN read_parquet('{target}') USING (row)"  # noqa: S608
        ).fetchall()

    assert [row[:2] for row in rows] == [
        (number, str(point.id)) for number, point in enumerate(bench.collection.points)
    ]
    assert [json.loads(row[2]) for row in rows] == [
        point.payload for point in bench.collection.points
    ]
    assert len(joined) == POINTS - 1
    for vector_id, payload in joined:
        fields = json.loads(payload)
        assert vector_id == f"{fields['file_id']}_{fields['chunk_index']}"


@pytest.mark.fault("A07")
def test_duckdb_names_a_damaged_file(unpacked_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(unpacked_folder, tmp_path / "damaged"))
    plan = max(folder.glob("*/runs/*/plan.json"))
    plan.write_bytes(plan.read_bytes() + b" ")

    assert answers(folder)[0] == [(plan.relative_to(folder).as_posix(),)]


@pytest.mark.slow
@pytest.mark.fault("A07", "Y05")
def test_the_unpacked_folder_is_a_dir_to_verify_and_restore_from(
    moved: tuple[Workbench, Path], unpacked_folder: Path, tmp_path: Path
) -> None:
    bench, _ = moved
    newest = max(unpacked_folder.glob("*/manifest.json")).parent
    store = tmp_path / "store"
    there = replace_directory(bench, unpacked_folder)

    checked = there.run("verify", newest.name)
    status = there.run("status")
    restored = there.run("restore", newest.name, "--source-path", str(store), "--yes")
    again = there.run("archive", "--out", str(tmp_path / "again"))

    assert checked.exit_code == 0, checked.stderr
    assert status.document["phase"] == "completed"
    assert restored.exit_code == 0, restored.stderr
    assert restored.document["equal"] is True
    assert restored.document["set_digest"] == checked.document["set_digest"]
    assert again.document["sha256"] == bench.run("archive").document["sha256"]


def replace_directory(bench: Workbench, directory: Path) -> Workbench:
    """The same commands on another --dir; a source is named by a folder there."""
    settings = {k: v for k, v in bench.environment.items() if k != "QDRANT_URL"}
    return replace(bench, directory=directory, environment=settings)


@pytest.mark.slow
@pytest.mark.fault("A07", "D10")
def test_odd_names_of_vectors_do_not_break_the_statements(tmp_path: Path) -> None:
    name = 'it\'s "odd" -- x'
    stored = [
        replace(point, vectors={name: point.vectors[""], "other": point.vectors[""]})
        for point in points(20)
    ]
    with workbench(tmp_path, stored, settings={"Q2V_VECTOR_NAME": name}, provision=False) as bench:
        size = bench.collection.vectors
        bench.collection.vectors = {name: size, "other": size}
        bench.provision()
        assert bench.move().exit_code == 0
        assert bench.run("reconcile").exit_code == 0
        path = Path(bench.run("archive").document["path"])
    run_program("tar", "--zstd", "-xf", path, cwd=tmp_path).check_returncode()

    _, _, count, first, *_ = answers(tmp_path / path.name.removesuffix(".q2v.tar.zst"))

    assert count == [(20,)]
    assert first[0][2] == pytest.approx(stored[0].vectors[name])


# --- secrets and seals -----------------------------------------------------------------------


@pytest.mark.fault("I10", "X02")
def test_no_secret_is_in_it(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20), settings={HMAC: KEY}) as bench:
        assert bench.move().exit_code == 0
        assert bench.run("reconcile").exit_code == 0
        content = Path(bench.run("archive").document["path"]).read_bytes()

    for secret in (API_KEY, API_TOKEN, KEY):
        assert_secret_absent(secret, texts=[content, unpacked(content)])


@pytest.mark.slow
@pytest.mark.fault("X09", "A06")
def test_an_archive_of_a_sealed_run_fits_its_key_alone(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20), settings={HMAC: KEY}) as bench:
        assert bench.move().exit_code == 0
        assert bench.run("reconcile").exit_code == 0
        path = Path(bench.run("archive").document["path"])
        content = path.read_bytes()
        with_key = bench.run("verify", str(path))
        forgery = tmp_path / "forged"
        readme = next(name for name in members(content) if name.endswith("/README.md"))
        changed = {readme.partition("/")[2]: b"# Another page\n"}
        forgery.write_bytes(forged(content, changed))
        refused = bench.run("verify", str(forgery))
        bench.environment[HMAC] = OTHER_KEY
        other = bench.run("verify", str(path))

    assert (with_key.exit_code, with_key.document["hmac_checked"]) == (0, True)
    assert verified(path) == verified(forgery) == 0, "without a key no HMAC is checked"
    assert (refused.exit_code, other.exit_code) == (ExitCode.DAMAGED, ExitCode.DAMAGED)
    assert "carries no HMAC" in refused.stderr
    assert "not that of the configured key" in other.stderr


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.fault("A04", "C01")
def test_a_snapshot_of_a_moving_source_is_not_final(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        assert bench.run("snapshot", "--moving").exit_code == 0
        assert bench.run("migrate").exit_code == 0
        bench.run("reconcile")
        refused = bench.run("archive")
        allowed = bench.run("archive", "--not-final")
        assert bench.run("catch-up", "--frozen").exit_code == 0
        assert bench.run("migrate").exit_code == 0
        assert bench.run("reconcile").exit_code == 0
        final = bench.run("archive")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "was read while others wrote" in refused.stderr
    assert "catch-up --frozen" in refused.stderr
    assert (allowed.exit_code, allowed.document["final"]) == (0, False)
    assert "was read while others wrote" in allowed.document["why_not_final"]
    assert (final.exit_code, final.document["final"]) == (0, True), final.stderr


@pytest.mark.slow
@pytest.mark.fault("A04")
def test_points_left_out_without_consent_are_in_the_way(tmp_path: Path) -> None:
    stored = points(20)
    stored[4] = replace(stored[4], payload={"text": "no file"})
    with workbench(tmp_path, stored) as bench:
        bench.move()
        bench.run("reconcile")
        refused = bench.run("archive")
        assert bench.run("migrate", "--waive", "field_missing").exit_code == 0
        assert bench.run("reconcile").exit_code == 0
        final = bench.run("archive")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "--waive" in refused.stderr
    assert (final.exit_code, final.document["final"]) == (0, True), final.stderr


@pytest.mark.slow
@pytest.mark.fault("A05", "W06")
def test_a_later_state_gets_the_next_number_and_decommission_takes_it(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        caught_up(bench)
        first = Path(bench.run("archive").document["path"])
        before = first.read_bytes()
        assert bench.run("monitor").exit_code == 0

        second = bench.run("archive")
        same = bench.run("archive")
        assert bench.run("monitor").exit_code == 0
        third = bench.run("archive")
        checklist = bench.run("decommission")

    stem = first.name.removesuffix(".q2v.tar.zst")
    named = [Path(one.document["path"]).name for one in (second, same, third)]
    assert named == [f"{stem}-{number}.q2v.tar.zst" for number in (2, 2, 3)]
    assert (same.document["reused"], third.document["reused"]) == (True, False)
    assert first.read_bytes() == before
    (found,) = [one for one in checklist.document["items"] if one["name"] == "archive"]
    assert found["proven"], found
    assert third.document["sha256"][:16] in found["found"]
    assert bench.run("verify", third.document["path"]).exit_code == 0


@pytest.mark.fault("A05")
def test_another_file_of_that_name_stays(moved: tuple[Workbench, Path], tmp_path: Path) -> None:
    bench, _ = moved
    mine = tmp_path / "mine.txt"
    mine.write_text("something of mine")

    refused = bench.run("archive", "--out", str(mine))

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "exists with other content" in refused.stderr
    assert mine.read_text() == "something of mine"


def test_another_folder_is_made_and_locked(moved: tuple[Workbench, Path], tmp_path: Path) -> None:
    bench, path = moved
    out = tmp_path / "backup" / "of the move"
    link = tmp_path / "link"
    link.symlink_to(bench.directory)

    written = bench.run("archive", "--out", str(out))
    with FolderLock(LocalFolder(out.parent)):
        busy = bench.run("archive", "--out", str(out))
    same = bench.run("archive", "--out", str(link / path.name))

    assert written.exit_code == 0, written.stderr
    assert out.read_bytes() == path.read_bytes()
    assert sorted(one.name for one in out.parent.iterdir()) == [".lock", "of the move"]
    assert busy.exit_code == ExitCode.LOCKED
    assert same.document["reused"] is True, "the lock of --dir is not taken twice"


@pytest.mark.parametrize("place", ["", "parts", "runs/{run}", "runs/{run}/reconcile/001"])
def test_an_archive_does_not_go_into_a_snapshot(moved: tuple[Workbench, Path], place: str) -> None:
    bench, _ = moved
    newest = max(bench.directory.glob("*/manifest.json")).parent
    (run,) = (one.name for one in (newest / "runs").iterdir())
    out = newest / place.format(run=run) / "a"

    refused = bench.run("archive", "--out", str(out))

    assert refused.exit_code == ExitCode.USAGE
    assert "found a folder of snapshot" in refused.stderr
    assert not out.exists()


def test_a_folder_is_no_file(moved: tuple[Workbench, Path], tmp_path: Path) -> None:
    bench, _ = moved

    assert bench.run("archive", "--out", str(tmp_path)).exit_code == ExitCode.USAGE
    assert bench.run("verify", str(tmp_path)).exit_code == ExitCode.USAGE


def test_an_earlier_run_is_named(moved: tuple[Workbench, Path], tmp_path: Path) -> None:
    bench, _ = moved
    first = min(bench.directory.glob("*/runs/*"))

    refused = bench.run("archive", str(first), "--out", str(tmp_path / "a"))
    allowed = bench.run("archive", str(first), "--out", str(tmp_path / "a"), "--not-final")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "a newer run of the same collection exists" in refused.stderr
    assert allowed.document["chain"] == [first.parent.parent.name]
    assert verified(tmp_path / "a") == 0
