"""Read an archive from start to end, comparing every byte, and open its members."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from migrate.archive.folder import ArchiveFolder, Contents
from migrate.archive.frames import TRAILER_BYTES, FrameReader, encode_trailer
from migrate.archive.record import RECORD_BYTES_MAX, ArchiveRecord, decode_record
from migrate.archive.tar import BLOCK_BYTES, END, decode_header, encode_header, padding, span
from migrate.errors import ForeignStateError
from migrate.model.hmac_key import SealKey
from migrate.model.sealed_json import damaged
from migrate.ports import Progress
from migrate.storage.folder import StoredFile
from migrate.storage.layout import ARCHIVE_RECORD

ARCHIVE_REMEDY = "take another copy of the archive"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OpenArchive:
    """An archive of which every byte was compared with archive.json."""

    record: ArchiveRecord
    record_bytes: bytes  # the content of archive.json
    folder: ArchiveFolder  # with the folders of the snapshots, as --dir has them
    bytes: int  # of the file
    sha256: str  # of the file


@contextmanager
def open_archive(
    stored: StoredFile, key: SealKey | None, progress: Progress
) -> Iterator[OpenArchive]:
    """Read the whole archive once, and give its members while the block runs.

    One handle serves both, so that what is read later is what was compared. Nothing is unpacked to
    a disk; memory holds a few frames. Raises ArtefactDamagedError, which names the member, when
    anything is not as `write_archive` wrote it; ForeignStateError for another format version.
    """
    with stored.open_to_read() as file:
        try:
            record_bytes, record, frames = _compare_all(file, str(stored), key, progress)
        except ForeignStateError as error:
            # A changed version number is damage, unless the rest of the file agrees.
            _check_sum(file, str(stored), error)
            raise
        contents = Contents(str(stored), frames, _spans(record, record_bytes))
        yield OpenArchive(
            record, record_bytes, ArchiveFolder(contents), frames.file_bytes, frames.sha256
        )


def read_record(stored: StoredFile, key: SealKey | None) -> bytes:
    """The content of archive.json of what claims to be an archive; nothing else is compared.

    Raises as `open_archive`.
    """
    with stored.open_to_read() as file:
        return _TarStream(FrameReader(file), str(stored)).read_record(key)[0]


def _check_sum(file: BinaryIO, where: str, error: ForeignStateError) -> None:
    size = file.seek(0, 2)
    file.seek(0)
    digest = hashlib.sha256()
    left = max(0, size - TRAILER_BYTES)
    while left and (block := file.read(min(left, _READ_BYTES))):
        digest.update(block)
        left -= len(block)
    if file.read() != encode_trailer(digest.hexdigest()):
        raise damaged(where, f"{ARCHIVE_RECORD} was changed", remedy=ARCHIVE_REMEDY) from error


def _compare_all(
    file: BinaryIO, where: str, key: SealKey | None, progress: Progress
) -> tuple[bytes, ArchiveRecord, FrameReader]:
    frames = FrameReader(file)
    stream = _TarStream(frames, where)
    content, record = stream.read_record(key)
    progress.start("checking files", total=len(record.files), unit="files")
    for member in record.files:
        path = f"{record.folder}/{member.path}"
        stream.expect(member.path, encode_header(path, member.bytes))
        if stream.hash_content(member.path, member.bytes) != member.sha256:
            stream.refuse(member.path, f"its sha256 is not the one in {ARCHIVE_RECORD}")
        stream.expect(member.path, padding(member.bytes))
        progress.advance(1, bytes_=member.bytes)
    stream.finish()
    return content, record, frames


class _TarStream:
    """Reads the members in order, and says in which of them something is wrong."""

    def __init__(self, frames: FrameReader, where: str) -> None:
        self._blocks = frames.stream()
        self._held = memoryview(b"")
        self._where = where

    def read_record(self, key: SealKey | None) -> tuple[bytes, ArchiveRecord]:
        """The first member: its bytes, and what they say."""
        header = bytes(self._take(ARCHIVE_RECORD, BLOCK_BYTES))
        try:
            path, size = decode_header(header)
        except ValueError as error:
            self.refuse(ARCHIVE_RECORD, str(error))
        folder, _, name = path.partition("/")
        if name != ARCHIVE_RECORD or size > RECORD_BYTES_MAX:
            self.refuse(ARCHIVE_RECORD, f"the first file is {path[:200]!r} of {size:,} B")
        content = b"".join(self._pieces(ARCHIVE_RECORD, size))
        self.expect(ARCHIVE_RECORD, padding(size))
        record = decode_record(content, where=f"{self._where}:{ARCHIVE_RECORD}", key=key)
        if record.folder != folder:
            self.refuse(ARCHIVE_RECORD, f"it is of {record.folder}, in a folder {folder}")
        return content, record

    def expect(self, member: str, content: bytes) -> None:
        """Read on; refuse the archive when the next bytes are not these."""
        if b"".join(self._pieces(member, len(content))) != content:
            self.refuse(member, "the bytes around it are not those of an archive of q2v")

    def hash_content(self, member: str, size: int) -> str:
        """SHA-256 of the next `size` bytes, in hex."""
        digest = hashlib.sha256()
        for piece in self._pieces(member, size):
            digest.update(piece)
        return digest.hexdigest()

    def finish(self) -> None:
        """Read the end of the tar stream, and of the file."""
        self.expect("its end", END)
        try:
            rest = len(self._held) + sum(map(len, self._blocks))
        except ValueError as error:
            self.refuse("its end", str(error))
        if rest:
            self.refuse("its end", f"{rest:,} B follow the last file")

    def refuse(self, member: str, why: str) -> NoReturn:
        """Raise ArtefactDamagedError for the archive, naming a member."""
        raise damaged(f"{self._where}:{member}", why, remedy=ARCHIVE_REMEDY)

    def _pieces(self, member: str, size: int) -> Iterator[memoryview]:
        """The next `size` bytes in pieces."""
        while size:
            piece = self._take(member, min(size, _READ_BYTES))
            size -= len(piece)
            yield piece

    def _take(self, member: str, count: int) -> memoryview:
        """At least one and at most `count` of the next bytes."""
        while not self._held:
            try:
                self._held = memoryview(next(self._blocks))
            except StopIteration:
                self.refuse(member, "the archive ends before it")
            except ValueError as error:
                self.refuse(member, str(error))
        piece, self._held = self._held[:count], self._held[count:]
        return piece


def _spans(record: ArchiveRecord, record_bytes: bytes) -> dict[str, tuple[int, int]]:
    """Path -> start and size of each file in the stream, archive.json aside."""
    spans: dict[str, tuple[int, int]] = {}
    position = span(len(record_bytes))
    for file in record.files:
        spans[file.path] = (position + BLOCK_BYTES, file.bytes)
        position += span(file.bytes)
    return spans
