"""What we read back never takes more memory than such a file can honestly need."""

import os
from pathlib import Path

import pytest

from migrate.errors import ArtefactDamagedError, LocalStorageError, UsageError
from migrate.storage import journal_file
from migrate.storage.id_files import LINE_CHARACTERS_MAX, read_ids
from migrate.storage.journal_file import JournalFile
from migrate.storage.local_folder import LocalFolder, local_file
from q2v.settings.loading import CONFIG_BYTES_MAX, read_config

pytestmark = pytest.mark.fault("X10")
HUGE = 1 << 40  # bytes; a sparse file takes no room on disk, but would in memory


def sparse(path: Path) -> Path:
    path.touch()
    os.truncate(path, HUGE)
    return path


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_a_file_up_to_the_bound_is_read_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)

    assert local_file(path).read(bytes_max=10) == b"x" * size


@pytest.mark.parametrize("size", [11, 12, 1000])
def test_a_byte_more_is_damage(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)

    with pytest.raises(ArtefactDamagedError, match="larger than 10 B"):
        local_file(path).read(bytes_max=10)


def test_an_endless_device_is_refused(tmp_path: Path) -> None:
    """Its size says nothing, so it is not opened as a file at all."""
    with pytest.raises(LocalStorageError, match="/dev/zero: it is not a regular file"):
        local_file(Path("/dev/zero")).read(bytes_max=10)
    with pytest.raises(LocalStorageError):
        local_file(tmp_path / "none").read(bytes_max=10)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"5", b"\xff", b"[" * 100_000, b"9" * 5000, b'{"a":NaN}']
)
def test_what_is_no_json_object_is_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)

    with pytest.raises(ArtefactDamagedError, match=r"report\.json: it is no JSON"):
        local_file(path).read_json_object(bytes_max=1 << 20)


def test_journals_id_files_and_settings_have_a_bound(tmp_path: Path) -> None:
    path = sparse(tmp_path / "journal.jsonl")

    with pytest.raises(ArtefactDamagedError, match="larger than"):
        JournalFile(LocalFolder(tmp_path))
    with pytest.raises(ArtefactDamagedError, match="larger than"):
        read_ids(local_file(path))
    with pytest.raises(UsageError, match=f"more than {CONFIG_BYTES_MAX:,} B"):
        read_config(path)


def test_a_line_that_no_entry_can_fill_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = JournalFile(LocalFolder(tmp_path))
    journal.append({"type": "a"})
    journal.close()
    size = len((tmp_path / "journal.jsonl").read_bytes()) - 1

    monkeypatch.setattr(journal_file, "LINE_BYTES_MAX", size)
    assert JournalFile(LocalFolder(tmp_path)).entries == [{"type": "a"}]
    monkeypatch.setattr(journal_file, "LINE_BYTES_MAX", size - 1)
    with pytest.raises(ArtefactDamagedError, match=f"line 1: {size:,} B in one line"):
        JournalFile(LocalFolder(tmp_path))


def test_a_line_that_no_id_can_fill_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "force.ids"
    path.write_text("a" * LINE_CHARACTERS_MAX + "\n")
    assert read_ids(local_file(path)) == ["a" * LINE_CHARACTERS_MAX]

    path.write_text("a" * (LINE_CHARACTERS_MAX + 1) + "\n")
    with pytest.raises(UsageError, match="expected an id"):
        read_ids(local_file(path))
