"""Links planted where we write and clear: refused, and what they point to stays as it was."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrate.errors import LocalStorageError, MigrationError
from migrate.run.folder import RunFolder, create_run
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder_lock import FolderLock
from migrate.storage.journal_file import JournalFile
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.memory_source import (
    MemorySource,
    UnexpectedError,
    chunk_payloads,
    take,
    take_and_open,
)
from tests.harness.paths import path_of
from tests.harness.tiers import examples
from tests.migrate.run.test_folder import QUARANTINE, plan_of


def begun(folder: Path) -> tuple[MemorySource, Path]:
    """A snapshot that was killed after its first part began."""
    source = MemorySource(chunk_payloads(5))

    def fail(number: int) -> None:
        if number == 5:
            raise UnexpectedError

    source.before_read = fail
    with pytest.raises(UnexpectedError):
        take(source, folder)
    source.before_read = lambda number: None
    (path,) = folder.iterdir()
    return source, path


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    return folder


def untouched(victim: Path) -> bool:
    return {path.name: path.read_bytes() for path in victim.iterdir()} == {"precious": b"precious"}


@pytest.mark.fault("X03")
@pytest.mark.parametrize("which", ["parts", "."])
def test_a_linked_folder_is_neither_cleared_nor_written(
    tmp_path: Path, victim: Path, which: str
) -> None:
    """Resuming clears the parts of what the journal does not know."""
    directory = tmp_path / "snapshots"
    source, path = begun(directory)
    if which == "parts":
        (path / "parts").rmdir()
        (path / "parts").symlink_to(victim)
    else:
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")

    with pytest.raises(LocalStorageError, match="is a link"):
        take(source, directory)
    assert untouched(victim)


@pytest.mark.fault("X03")
@pytest.mark.parametrize(
    "name",
    [
        "parts/.part-00000.parquet.q2v-tmp",
        "parts/part-00000.parquet",
        ".manifest.json.q2v-tmp",
    ],
)
def test_a_linked_file_is_replaced_and_not_written_through(
    tmp_path: Path, victim: Path, name: str
) -> None:
    directory = tmp_path / "snapshots"
    source, path = begun(directory)
    planted = path / name
    planted.unlink(missing_ok=True)
    planted.symlink_to(victim / "precious")

    report = take(source, directory)
    assert untouched(victim)
    assert not [found for found in Path(report.path).rglob("*") if found.is_symlink()]
    assert len(list(Snapshot(LocalFolder(path)).read(with_vectors=()))) == 1


@pytest.mark.fault("X03")
def test_a_linked_journal_or_lock_is_refused(tmp_path: Path, victim: Path) -> None:
    for name in ("journal.jsonl", ".lock"):
        (tmp_path / name).symlink_to(victim / "nothing-there")
    with pytest.raises(LocalStorageError):
        JournalFile(LocalFolder(tmp_path)).append({"type": "a"})
    with pytest.raises(LocalStorageError), FolderLock(LocalFolder(tmp_path)):
        pass

    assert untouched(victim)


def run_of(folder: Path) -> RunFolder:
    snapshot = take_and_open(MemorySource(chunk_payloads(5)), folder)
    plan = plan_of(snapshot, hashlib.sha256(QUARANTINE).hexdigest())
    return RunFolder(create_run(snapshot, plan, QUARANTINE, []), snapshot)


def linked_run(run: RunFolder, victim: Path) -> None:
    moved = path_of(run.folder).with_name("moved")
    path_of(run.folder).rename(moved)
    path_of(run.folder).symlink_to(moved)


def linked(name: str) -> Callable[[RunFolder, Path], None]:
    def plant(run: RunFolder, victim: Path) -> None:
        path = path_of(run.folder) / name
        if path.exists():
            path.rmdir()
        path.symlink_to(victim)

    return plant


@pytest.mark.fault("X03")
@pytest.mark.parametrize(
    "plant", [linked_run, linked("pre-images"), linked("reconcile"), linked("rollback")]
)
def test_a_run_with_a_linked_folder_is_refused(
    tmp_path: Path, victim: Path, plant: Callable[[RunFolder, Path], None]
) -> None:
    run = run_of(tmp_path / "snapshots")
    run.close()
    plant(run, victim)

    with pytest.raises(LocalStorageError, match="is a link"):
        RunFolder(run.folder, run.snapshot)
    assert untouched(victim)


NAMES = [
    "../escaped", "..", "/etc/passwd", "a\x00b", "C:\\windows", "x" * 300, "CON", "a\nb", "-rf",
    "$(touch x)", "é" * 100, "", " ", "a/b/c",
]  # fmt: skip


@pytest.mark.fault("X04")
@given(name=st.sampled_from(NAMES) | st.text(max_size=40))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=examples(30),
)
def test_no_name_of_a_collection_becomes_part_of_a_path(tmp_path: Path, name: str) -> None:
    """Nor does any id or payload: names come from counters, times and digests."""
    directory = tmp_path / "snapshots"
    source = MemorySource(chunk_payloads(3))
    source.name = name
    source.points = {
        number: {**fields, "file_id": name} for number, fields in source.points.items()
    }
    try:
        report = take(source, directory)
    except MigrationError:  # refused is harmless as well
        return
    below = Path(report.path).relative_to(directory)

    assert len(below.parts) == 1
    names = [below.name, *(path.name for path in Path(report.path).rglob("*"))]
    for each in names:
        assert each.isascii()
        assert all(character.isalnum() or character in "-._" for character in each)
        assert len(each) < 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshots"]
