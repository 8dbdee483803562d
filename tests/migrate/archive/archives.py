"""Archives for tests: of a folder that a whole move has left, and forged ones."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from typing_extensions import Buffer, override

from migrate.archive.frames import FrameWriter
from migrate.archive.record import ArchivedFile, decode_record, encode_record
from migrate.archive.tar import END, encode_header, padding
from migrate.archive.verify import VerifiedArchive, verify_archive
from migrate.archive.write import ArchiveOptions, ArchiveReport, write_archive
from migrate.model.hmac_key import SealKey
from migrate.run.choose.find import find_run
from migrate.runtime import NoProgress, Runtime
from migrate.storage.folder import StoredFile
from migrate.storage.folder_lock import FolderLock
from migrate.storage.hashed_file import HashedFile
from migrate.storage.local_folder import LocalFolder, local_file
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_folder import memory_folder

TOOL = "q2v 0"
RECORD = "archive.json"


def archive(
    directory: Path,
    out: Path,
    *,
    run: Path | None = None,
    not_final: bool = False,
    key: SealKey | None = None,
) -> ArchiveReport:
    """`q2v archive`, of the newest run in a folder."""
    folder = LocalFolder(directory)
    named = None if run is None else LocalFolder(run)
    with FolderLock(folder), closing(find_run(folder, named, key, read_only=True)) as opened:
        return write_archive(
            opened,
            local_file(out),
            ArchiveOptions(tool=TOOL, not_final=not_final),
            Runtime(clock=VirtualClock(), progress=NoProgress()),
        )


def verify(content: bytes, key: SealKey | None = None) -> VerifiedArchive:
    """`q2v verify`, of an archive in memory."""
    return verify_archive(in_memory(content), key, NoProgress())


def in_memory(content: bytes) -> StoredFile:
    """A file that is on no disk."""
    file = memory_folder().file("a.q2v.tar.zst")
    file.write(content)
    return file


def unpacked(content: bytes) -> bytes:
    """The tar stream, by a decoder that knows nothing of q2v."""
    with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
        found = stream.read()
    assert isinstance(found, bytes)
    return found


def members(content: bytes) -> dict[str, bytes]:
    """Path -> content of each member, in order, by Python's own reader of tar."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(unpacked(content))) as tar:
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None, info.name
            found[info.name] = file.read()
    return found


class Sink(io.RawIOBase):
    """Keeps what is written, also after it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.content = bytearray()

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, content: Buffer, /) -> int:
        taken = bytes(content)
        self.content += taken
        return len(taken)


def packed(stream: bytes) -> bytes:
    """A tar stream in frames, with the right SHA-256 at the end."""
    sink = Sink()
    with HashedFile(sink) as file:
        frames = FrameWriter(file)
        frames.write(stream)
        frames.finish()
    return bytes(sink.content)


def tar_stream(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Members in the form of q2v."""
    blocks = (
        encode_header(path, len(content)) + content + padding(len(content))
        for path, content in files
    )
    return b"".join(blocks) + END


def forged(content: bytes, changed: Mapping[str, bytes], key: SealKey | None = None) -> bytes:
    """The archive with other content of some members, and every digest of the archive made to fit.

    `changed` names paths below the folder of the archive.
    """
    found = members(content)
    (folder,) = {path.partition("/")[0] for path in found}
    found |= {f"{folder}/{path}": value for path, value in changed.items()}
    sealed = found.pop(f"{folder}/{RECORD}")
    files = tuple(
        ArchivedFile(
            path=path.removeprefix(f"{folder}/"),
            bytes=len(value),
            sha256=hashlib.sha256(value).hexdigest(),
        )
        for path, value in sorted(found.items())
    )
    if RECORD not in changed:
        record = decode_record(sealed, where="", key=None)
        sealed = encode_record(replace(record, files=files), key)
    first = (f"{folder}/{RECORD}", sealed)
    return packed(tar_stream([first, *sorted(found.items())]))


def record_of(content: bytes) -> dict[str, object]:
    """The object in archive.json."""
    value = json.loads(next(iter(members(content).values())))
    assert isinstance(value, dict)
    return value
