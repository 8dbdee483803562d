"""A journal on disk: what was appended is there; what was cut is dropped; the rest is damage."""

import os
import stat
from pathlib import Path

import pytest

from migrate.errors import ArtefactDamagedError, ExitCode, LocalStorageError
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import Entry
from migrate.storage.local_folder import LocalFolder
from tests.migrate.storage.full_disk import file_size_max

ENTRIES: list[Entry] = [
    {"type": "run_opened", "run_id": "é"},
    {"type": "intent", "batch": 0, "names": ["\ud800", 2**70]},
    {"type": "ack", "batch": 0},
]


def write(path: Path, entries: list[Entry]) -> bytes:
    journal = JournalFile(LocalFolder(path.parent))
    for entry in entries:
        journal.append(entry)
    journal.close()
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_entries_are_there_for_the_next_reader(path: Path) -> None:
    assert JournalFile(LocalFolder(path.parent)).entries == []
    write(path, ENTRIES[:1])
    write(path, ENTRIES[1:])
    journal = JournalFile(LocalFolder(path.parent))

    assert journal.entries == ENTRIES
    assert not journal.torn_tail
    journal.close()
    journal.close()


@pytest.mark.fault("X03")
def test_a_journal_is_ours_alone_and_no_link_is_followed(path: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(path, ENTRIES)
    finally:
        os.umask(before)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(LocalStorageError, match="symbolic links"):
        JournalFile(LocalFolder(link.parent), link.name).append(ENTRIES[0])


@pytest.mark.fault("G02", "G03")
def test_every_torn_prefix_of_the_last_line_is_dropped_and_reported(path: Path) -> None:
    content = write(path, ENTRIES)
    start = content[:-1].rindex(b"\n") + 1
    for size in range(start, len(content)):
        path.write_bytes(content[:size])
        journal = JournalFile(LocalFolder(path.parent))

        assert ENTRIES[:2] == journal.entries
        assert (size > start) == journal.torn_tail


@pytest.mark.fault("G02", "G17", "I2")
def test_appending_after_a_torn_tail_goes_on_as_if_it_had_never_been(path: Path) -> None:
    whole = write(path, ENTRIES)
    for size in (len(whole) - 1, len(whole) - 50, whole[:-1].rindex(b"\n") + 2):
        path.write_bytes(whole[:size])
        journal = JournalFile(LocalFolder(path.parent))
        assert journal.torn_tail
        journal.append(ENTRIES[2])
        journal.close()

        assert whole == path.read_bytes()


@pytest.mark.fault("G02")
def test_reading_alone_changes_nothing(path: Path) -> None:
    torn = write(path, ENTRIES)[:-5]
    path.write_bytes(torn)
    JournalFile(LocalFolder(path.parent)).close()

    assert torn == path.read_bytes()


@pytest.mark.slow
@pytest.mark.fault("G15")
def test_any_flipped_bit_before_the_last_newline_is_damage(path: Path) -> None:
    """The last newline alone cannot be told from a cut write: its line is dropped, and said so."""
    content = write(path, ENTRIES)
    for position in range(len(content) - 1):
        for bit in (0x01, 0x20, 0x80):
            flipped = bytearray(content)
            flipped[position] ^= bit
            path.write_bytes(flipped)
            with pytest.raises(ArtefactDamagedError, match=r"journal\.jsonl, line \d") as caught:
                JournalFile(LocalFolder(path.parent))
            assert caught.value.exit_code == ExitCode.DAMAGED
    flipped = bytearray(content)
    flipped[-1] ^= 0x01
    path.write_bytes(flipped)
    journal = JournalFile(LocalFolder(path.parent))
    assert ENTRIES[:2] == journal.entries
    assert journal.torn_tail


@pytest.mark.fault("G15", "X09")
@pytest.mark.parametrize("order", [[0, 2], [0, 2, 1], [1, 0, 2], [0, 1, 1, 2], [1, 2]])
def test_dropped_swapped_and_repeated_lines_are_damage(path: Path, order: list[int]) -> None:
    lines = write(path, ENTRIES).splitlines(keepends=True)
    path.write_bytes(b"".join(lines[number] for number in order))

    with pytest.raises(ArtefactDamagedError, match="does not continue the chain"):
        JournalFile(LocalFolder(path.parent))


@pytest.mark.fault("G06")
def test_a_journal_that_cannot_be_written_is_a_local_failure(tmp_path: Path) -> None:
    journal = JournalFile(LocalFolder(tmp_path / "missing"))
    with pytest.raises(LocalStorageError, match="appending to"):
        journal.append(ENTRIES[0])


@pytest.mark.fault("G03", "G04", "I2")
@pytest.mark.parametrize("room", [0, 1, 60])
def test_an_append_that_the_disk_cuts_short_is_a_torn_tail(path: Path, room: int) -> None:
    """The limit on file sizes stands for a full disk: the first bytes are written, then no more."""
    size = len(write(path, ENTRIES[:2]))
    journal = JournalFile(LocalFolder(path.parent))
    with file_size_max(size + room), pytest.raises(LocalStorageError, match="appending to"):
        journal.append(ENTRIES[2])
    journal.close()
    again = JournalFile(LocalFolder(path.parent))

    assert path.stat().st_size == size + room
    assert (again.entries, again.torn_tail) == (ENTRIES[:2], room > 0)
    again.append(ENTRIES[2])
    again.close()
    assert JournalFile(LocalFolder(path.parent)).entries == ENTRIES


@pytest.mark.fault("G04", "G05")
def test_after_a_failed_append_only_reading_anew_helps(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    journal = JournalFile(LocalFolder(folder))
    with pytest.raises(LocalStorageError):
        journal.append(ENTRIES[0])
    folder.mkdir()

    with pytest.raises(AssertionError, match="has to be opened again"):
        journal.append(ENTRIES[0])
    write(folder / "journal.jsonl", ENTRIES)
    assert JournalFile(LocalFolder(folder)).entries == ENTRIES
