"""What was reported as written is there after a power cut; what was not never shows in part."""

from pathlib import Path

import pytest

from migrate.storage.disk import use_disk
from migrate.storage.durable import make_folder, write_durably
from migrate.storage.journal_file import JournalFile
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.faulty_disk import FaultyDisk
from tests.harness.fakes.steps import Steps

REORDERED = [False, True]  # the two extremes of what a cut may leave: see FaultyDisk.cut_power


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.mark.fault("G03")
@pytest.mark.parametrize("reordered", REORDERED)
def test_a_written_file_outlives_a_power_cut_with_name_and_content(
    root: Path, *, reordered: bool
) -> None:
    """The content needs the file's fsync, the name the folder's."""
    disk = FaultyDisk(root, Steps())
    with use_disk(disk):
        write_durably(root / "new", b"content")
        write_durably(root / "rewritten", b"old")
        write_durably(root / "rewritten", b"content")
        disk.cut_power(reordered=reordered)

    found = {path.name: path.read_bytes() for path in root.iterdir()}
    assert found == {"new": b"content", "rewritten": b"content"}


@pytest.mark.fault("G03")
def test_a_folder_outlives_a_power_cut_with_its_parents(root: Path) -> None:
    disk = FaultyDisk(root, Steps())
    with use_disk(disk):
        make_folder(root / "outer" / "inner")
        disk.cut_power(reordered=False)

    assert (root / "outer" / "inner").is_dir()


@pytest.mark.fault("G02", "G03", "I2")
@pytest.mark.parametrize("reordered", REORDERED)
def test_every_appended_entry_outlives_a_power_cut(root: Path, *, reordered: bool) -> None:
    """The first one needs the folder's fsync as well."""
    entries: list[dict[str, object]] = [{"type": "entry", "number": number} for number in range(3)]
    path = root / "journal.jsonl"
    for count, entry in enumerate(entries, start=1):
        disk = FaultyDisk(root, Steps())
        with use_disk(disk):
            journal = JournalFile(LocalFolder(path.parent))
            journal.append(entry)
            journal.close()
            disk.cut_power(reordered=reordered)

        assert JournalFile(LocalFolder(path.parent)).entries == entries[:count]
