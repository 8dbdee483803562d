"""The wheels install a working q2v into an empty environment; the extra brings the rehearsal."""

import hashlib
import json
import shutil
import subprocess
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from tests.distribution.installed import (
    COMMIT,
    ROOT,
    build_wheels,
    copy_tree,
    make_environment,
    run,
    without_python_settings,
)
from tests.harness.running.programs import run_program, start_program

PIP_COMMAND = "pip install 'qdrant-to-vectorize[rehearsal]'"
SNAPSHOT = ROOT / "tests" / "assets" / "written-by-2026-11-28" / "snapshot"
# Imports every module of the tool; the last line names those that an absent package kept out.
IMPORT_ALL = """
import importlib, pkgutil, migrate, q2v, reconcile
absent = {}
for package in (migrate, q2v, reconcile):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            try:
                importlib.import_module(found.name)
            except ModuleNotFoundError as error:
                absent[found.name] = error.name.partition(".")[0]
import json
print(json.dumps(absent))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    tree = copy_tree(folder / "tree", commit=COMMIT)
    return build_wheels(tree, into=folder / "dist")


def names_in(wheel: Path) -> set[str]:
    """Top-level names in the wheel's RECORD."""
    with zipfile.ZipFile(wheel) as file:
        (record,) = (name for name in file.namelist() if name.endswith(".dist-info/RECORD"))
        lines = file.read(record).decode().splitlines()
    return {line.partition("/")[0] for line in lines}


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(file.read(name))


def end_of(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program, however it ends."""
    return run_program(*words, cwd=folder, env=without_python_settings())


def copy_snapshot(folder: Path) -> Path:
    """A snapshot of an earlier version, in a folder of its name."""
    manifest = json.loads((SNAPSHOT / "manifest.json").read_text(encoding="utf-8"))
    return Path(shutil.copytree(SNAPSHOT, folder / manifest["snapshot_id"]))


@pytest.mark.slow
def test_only_the_extra_installs_sandbox_and_rehearsal(wheels: list[Path]) -> None:
    tool, extra = map(names_in, wheels)

    assert tool == {"q2v", "migrate", "reconcile", "qdrant_to_vectorize-0.1.0.dist-info"}
    assert extra == {"sandbox", "rehearsal", "qdrant_to_vectorize_rehearsal-0.1.0.dist-info"}


@pytest.mark.slow
def test_both_wheels_carry_the_licence(wheels: list[Path]) -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    for wheel in wheels:
        metadata = metadata_of(wheel)
        with zipfile.ZipFile(wheel) as file:
            (name,) = (name for name in file.namelist() if name.endswith("/licenses/LICENSE"))

            assert licence == file.read(name)
        assert metadata["License-Expression"] == "Apache-2.0"
        assert metadata["License-File"] == "LICENSE"
    assert b"Apache License" in licence
    assert "Qdrant" in str(metadata_of(wheels[0]).get_payload())


@pytest.mark.slow
def test_the_tool_carries_the_page_of_its_formats(wheels: list[Path]) -> None:
    """It is a link in the tree; every archive holds it."""
    with zipfile.ZipFile(wheels[0]) as file:
        assert file.read("migrate/archive/formats.md") == (ROOT / "docs/formats.md").read_bytes()


@pytest.mark.slow
def test_an_installed_q2v_writes_the_whole_project_of_a_worker(
    wheels: list[Path], tmp_path: Path
) -> None:
    programs = make_environment(tmp_path / "empty", wheels[:1], extras=frozenset())
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    copy_snapshot(snapshots)
    names = ("--vector-index", "chunks", "--kv-namespace-id", "0123456789abcdef0123456789abcdef")

    words = ("worker", "init", "made", "--dir", str(snapshots), *names)
    run(str(programs / "q2v"), *words, folder=tmp_path)

    for folder in ("src", "kit", "test/example"):
        for path in (ROOT / "worker" / folder).rglob("*"):
            if path.is_file() and path.name != "migration.ts":
                made = tmp_path / "made" / path.relative_to(ROOT / "worker")
                assert made.read_bytes() == path.read_bytes()
    assert (tmp_path / "made" / "wrangler.jsonc").is_file()


@pytest.mark.slow
def test_two_builds_of_the_same_tree_have_the_same_bytes(
    wheels: list[Path], tmp_path: Path
) -> None:
    again = build_wheels(copy_tree(tmp_path / "other", commit=COMMIT), into=tmp_path / "dist")

    digests = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in (*wheels, *again)]
    assert digests[:2] == digests[2:]


@pytest.mark.slow
def test_without_the_extra_q2v_works_and_names_the_command_that_installs_it(
    wheels: list[Path], tmp_path: Path
) -> None:
    programs = make_environment(tmp_path / "empty", wheels[:1], extras=frozenset())
    q2v = programs / "q2v"

    assert run(str(q2v), "--version", folder=tmp_path).stdout == (
        f"q2v 0.1.0 (commit {COMMIT[:12]})\n"
    )
    assert "rehearse" in run(str(q2v), "--help", folder=tmp_path).stdout
    assert run(str(q2v), "verify", str(copy_snapshot(tmp_path)), folder=tmp_path).stdout
    for words in (["rehearse"], ["rehearse", "--help"], ["sandbox", "--port", "0"]):
        ended = end_of(q2v, *words, folder=tmp_path)
        assert ended.returncode == 2
        assert PIP_COMMAND in ended.stderr
        assert "Traceback" not in ended.stderr
    asked = {"_Q2V_COMPLETE": "bash_complete", "COMP_WORDS": "q2v rehearse --", "COMP_CWORD": "2"}
    assert "Traceback" not in run(str(q2v), folder=tmp_path, **asked).stderr
    absent = json.loads(
        run(str(programs / "python"), "-c", IMPORT_ALL, folder=tmp_path).stdout.splitlines()[-1]
    )
    assert set(absent) == {
        "q2v.commands.rehearsal.rehearse",
        "q2v.commands.rehearsal.rehearsed",
        "q2v.commands.rehearsal.sandbox",
    }
    assert set(absent.values()) <= {"sandbox", "rehearsal"}


@pytest.mark.slow
def test_with_the_extra_the_sandbox_is_served(wheels: list[Path], tmp_path: Path) -> None:
    programs = make_environment(tmp_path / "whole", wheels, extras=frozenset({"rehearsal"}))
    shown = run(str(programs / "q2v"), "rehearse", "--help", folder=tmp_path).stdout
    words = [str(programs / "q2v"), "sandbox", "--state", "state"]
    with start_program(
        *words, cwd=tmp_path, env=without_python_settings(), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.terminate()

    assert "--fault" in shown
    assert json.loads(first)["base_url"].startswith("http://127.0.0.1:")


def declared(name: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / name).read_text(encoding="utf-8"))["project"]
    return project


def test_tool_and_extra_always_have_the_same_version() -> None:
    tool, extra = declared("pyproject.toml"), declared("rehearsal/pyproject.toml")
    pin = f"{extra['name']}=={tool['version']}"

    assert tool["version"] == extra["version"]
    assert tool["optional-dependencies"]["rehearsal"] == [pin]
    assert pin in tool["optional-dependencies"]["dev"]
    assert f"{tool['name']}=={tool['version']}" in extra["dependencies"]
