"""An append-only journal: every entry durable before the call returns."""

from migrate.errors import ArtefactDamagedError
from migrate.storage.folder import Appender, StoredFile, WorkFolder
from migrate.storage.journal_lines import CHAIN_START, Chain, Entry, decode_line, encode_line
from migrate.storage.layout import JOURNAL

# Four lines of about 200 B per upload: a million uploads, which are 2.5 billion vectors.
JOURNAL_BYTES_MAX = 1024 * 1024 * 1024

LINE_BYTES_MAX = 64 * 1024 * 1024  # the ranges of a snapshot: 60 B for each part of 64 MiB


class JournalFile:
    """The journal of a folder. The caller holds the lock of --dir.

    A last line without its newline is an interrupted write: `torn_tail` is then True, and the line
    is dropped at the first append. Any other line that does not fit the chain raises
    ArtefactDamagedError. After a failed append the content of the file is not known, so the object
    cannot be used again: open the journal again.
    """

    def __init__(self, folder: WorkFolder, name: str = JOURNAL) -> None:
        """Read the journal, if there is one; `name` is for tests."""
        self.file = folder.file(name)
        self._folder = folder
        self._broken = False
        self._appender: Appender | None = None
        self.entries, self._chain, self._size, self.torn_tail = _read(self.file)

    def append(self, entry: Entry) -> None:
        """Add one entry; returns when it is durable. Raises LocalStorageError."""
        assert not self._broken, "after a failed append the journal has to be opened again"
        line, chain = encode_line(entry, self._chain)
        self._broken = True
        try:
            if self._appender is None:
                self._appender = self._folder.appender(self.file.name, size=self._size)
            self._appender.append(line)
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

    def close(self) -> None:
        """Close the file. Calling it again does nothing."""
        if self._appender is not None:
            self._appender.close()
            self._appender = None


def _checked_length(line: bytes) -> bytes:
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"{len(line):,} B in one line, at most {LINE_BYTES_MAX:,} were expected")
    return line


def _read(file: StoredFile) -> tuple[list[Entry], Chain, int, bool]:
    """The intact entries, the chain after them, their size in bytes, and whether a tail is torn."""
    if not file.is_there():
        return [], CHAIN_START, 0, False
    content = file.read(bytes_max=JOURNAL_BYTES_MAX)
    entries: list[Entry] = []
    chain, size = CHAIN_START, 0
    *lines, tail = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            entry, chain = decode_line(_checked_length(line), chain)
        except ValueError as error:
            raise ArtefactDamagedError(
                f"{file}, line {number}: {error}",
                remedy="the journal was changed after it was written: restore the file from a copy "
                "of the run folder; do not go on with this run",
            ) from error
        entries.append(entry)
        size += len(line) + 1
    return entries, chain, size, bool(tail)
