"""An append-only journal on disk: every entry durable before the call returns."""

import io
from pathlib import Path

from migrate.errors import ArtefactDamagedError
from migrate.storage.disk import disk
from migrate.storage.durable import is_file, local_io
from migrate.storage.journal_lines import CHAIN_START, Chain, Entry, decode_line, encode_line
from migrate.storage.limited_read import read_bounded

# Four lines of about 200 B per upload: a million uploads, which are 2.5 billion vectors.
JOURNAL_BYTES_MAX = 1024 * 1024 * 1024

LINE_BYTES_MAX = 64 * 1024 * 1024  # the ranges of a snapshot: 60 B for each part of 64 MiB


class JournalFile:
    """One journal. The caller holds the folder's lock.

    A last line without its newline is the trace of a cut write: it is dropped when the journal is
    opened for appending and `torn_tail` says so. Anything else that does not fit the chain raises
    ArtefactDamagedError. After a failed append the object refuses further use: what reached the
    disk is then unknown, and only reading it anew can tell.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._broken = False
        self._file: io.FileIO | None = None
        self.entries, self._chain, self._size, self.torn_tail = _read(path)

    def append(self, entry: Entry) -> None:
        """Add one entry; returns when it is durable. Raises LocalStorageError."""
        assert not self._broken, "a journal that failed once is opened anew before it is used"
        line, chain = encode_line(entry, self._chain)
        self._broken = True
        try:
            with local_io("appending to", self.path):
                file = self._open()
                _write_all(file, line)
                disk().sync(file)
            self._broken = False
        finally:
            if self._broken:
                self.close()
        self._chain = chain
        self._size += len(line)
        self.entries.append(entry)

    @property
    def chain(self) -> Chain:
        """The digest over every entry so far: names this state of the journal."""
        return self._chain

    def _open(self) -> io.FileIO:
        if self._file is None:
            self._file = disk().open_to_append(self.path)
            disk().truncate(self._file, self._size)  # drops a torn tail
            if self._size == 0:  # new, or a kill came before its name was durable
                disk().sync_folder(self.path.parent)
        return self._file

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_all(file: io.FileIO, content: bytes) -> None:
    while content:
        content = content[file.write(content) :]


def _of_honest_length(line: bytes) -> bytes:
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"{len(line):,} B in one line, at most {LINE_BYTES_MAX:,} were expected")
    return line


def _read(path: Path) -> tuple[list[Entry], Chain, int, bool]:
    """The intact entries, the chain after them, their size in bytes, and whether a tail is torn."""
    if not is_file(path):
        return [], CHAIN_START, 0, False
    content = read_bounded(path, bytes_max=JOURNAL_BYTES_MAX)
    entries: list[Entry] = []
    chain, size = CHAIN_START, 0
    *lines, tail = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            entry, chain = decode_line(_of_honest_length(line), chain)
        except ValueError as error:
            raise ArtefactDamagedError(
                f"{path}, line {number}: {error}",
                remedy="the journal was changed after it was written: restore the file from a copy "
                "of the run folder; do not go on with this run",
            ) from error
        entries.append(entry)
        size += len(line) + 1
    return entries, chain, size, bool(tail)
