"""With snapshot.hmac_key, what somebody else wrote into the folder is not believed."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.model.sealed_json import seal_json
from migrate.storage.journal_lines import CHAIN_START, encode_line
from tests.harness.running.workbench import Workbench, points, workbench

pytestmark = pytest.mark.fault("X09")

KEY = "5f" * 32
SETTING = "Q2V_SNAPSHOT_HMAC_KEY_FILE"


def key_file(folder: Path, key: str, mode: int = 0o600) -> str:
    path = folder / f"key-{key[:4]}-{mode:o}"
    path.write_text(f"{key}\n")
    path.chmod(mode)
    return str(path)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A run sealed with the key, complete and reconciled."""
    settings = {SETTING: key_file(tmp_path, KEY)}
    with workbench(tmp_path, points(30), settings=settings) as made:
        moved = made.move()
        assert moved.exit_code == 0, moved.stderr
        assert made.run("reconcile").exit_code == 0
        yield made


COMMANDS = (("verify",), ("status",), ("migrate",), ("reconcile",), ("rollback",))


def codes(bench: Workbench) -> set[int]:
    return {bench.run(*words).exit_code for words in COMMANDS}


def test_with_the_key_everything_fits_and_says_so(bench: Workbench) -> None:
    verified = bench.run("verify")

    assert codes(bench) == {0}
    assert (verified.document["hmac_checked"], verified.document["plans"]) == (True, 1)


@pytest.mark.slow
def test_without_the_key_files_can_be_read_but_are_not_vouched_for(bench: Workbench) -> None:
    del bench.environment[SETTING]

    assert bench.run("verify").document["hmac_checked"] is False
    assert "not checked" in bench.run("verify", as_json=False).stdout


@pytest.mark.slow
def test_another_key_fits_nothing(bench: Workbench, tmp_path: Path) -> None:
    bench.environment[SETTING] = key_file(tmp_path, "a0" * 32)
    before = bench.state()

    assert codes(bench) == {10}
    assert before == bench.state()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["manifest.json", "plan.json"])
def test_a_file_sealed_anew_without_the_key_is_refused(bench: Workbench, name: str) -> None:
    """Digest and all: the HMAC left out, and the one of before left in."""
    (path,) = (
        found for found in bench.files() if found.name == name and "rollback" not in str(found)
    )
    fields = json.loads(path.read_bytes())
    fields = {**fields, "tool": "q2v 9"}
    fields.pop("sha256")
    for left_in in (True, False):
        if not left_in:
            fields.pop("hmac")
        path.write_bytes(seal_json(fields))

        refused = bench.run("verify")
        assert refused.exit_code == 10
        assert "HMAC" in refused.document["error"]["what"]


@pytest.mark.slow
def test_an_older_snapshot_put_in_place_of_a_newer_one_is_refused(bench: Workbench) -> None:
    """Its seal is genuine; its place is not."""
    older = Path(bench.run("verify").document["path"])
    bench.collection.points.pop()
    newer = Path(bench.run("snapshot").document["path"])
    shutil.rmtree(newer / "parts")
    shutil.copytree(older / "parts", newer / "parts")
    shutil.copy(older / "manifest.json", newer / "manifest.json")

    refused = bench.run("verify", str(newer))
    assert refused.exit_code == 10
    assert older.name in refused.document["error"]["what"]


@pytest.mark.slow
@pytest.mark.fault("F19")
def test_a_report_that_was_written_again_without_the_key_orders_no_repair(
    bench: Workbench,
) -> None:
    """With its journal: every digest fits, the HMAC does not."""
    report = Path(bench.run("reconcile").document["report"])
    fields = json.loads(report.read_bytes())
    del fields["sha256"]
    fields |= {"verdict": "drift", "drift": {**fields["drift"], "missing": 1}}
    report.write_bytes(seal_json(fields))
    journal = report.with_name("journal.jsonl")
    lines, chain = journal.read_bytes().splitlines(), CHAIN_START
    with journal.open("wb") as file:
        for line in lines:
            entry = {name: one for name, one in json.loads(line).items() if name != "chain"}
            if entry["type"] == "reconcile_concluded":
                entry["report_sha256"] = hashlib.sha256(report.read_bytes()).hexdigest()
            encoded, chain = encode_line(entry, chain)
            file.write(encoded)
    before = bench.state()

    refused = bench.run("migrate")

    assert refused.exit_code == 10
    assert "HMAC" in refused.document["error"]["what"]
    assert before == bench.state()


@pytest.mark.slow
@pytest.mark.fault("X01")
@pytest.mark.parametrize(("key", "mode"), [(KEY, 0o644), (KEY[:31], 0o600), ("", 0o600)])
def test_a_key_that_others_can_read_or_guess_is_a_usage_error(
    bench: Workbench, tmp_path: Path, key: str, mode: int
) -> None:
    bench.environment[SETTING] = key_file(tmp_path, key, mode)

    for words in (*COMMANDS, ("snapshot",)):
        refused = bench.run(*words)
        assert refused.exit_code == 2
        assert not key or key not in refused.stdout + refused.stderr


@pytest.mark.slow
def test_the_key_is_in_no_file(bench: Workbench) -> None:
    assert not [path for path in bench.files() if KEY.encode() in path.read_bytes()]
