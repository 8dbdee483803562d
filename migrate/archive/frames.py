"""The outer form of an archive: zstd frames of a fixed size, then the SHA-256 of all of them.

Each frame holds `FRAME_BYTES` of the tar stream, the last one the rest, so that a member can be
read without what lies before it. Any zstd decoder reads the frames one after the other. The last
bytes are a skippable frame (RFC 8878, 3.1.2), which decoders pass over: it holds the SHA-256 of
every byte before it. So a changed, a missing and an additional byte are found, those included that
decode to the same content.
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock
from typing import BinaryIO

import pyarrow as pa
from typing_extensions import Buffer, override

from migrate.storage.hashed_file import HashedFile

FRAME_BYTES = 4 * 1024 * 1024  # of the tar stream; a reader holds a few of them
LEVEL = 3  # zstd's own default; parts are packed already and gain nothing from more
_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = b"\x50\x2a\x4d\x18"
_SIZE_BYTES = {0: 0, 1: 2, 2: 4, 3: 8}  # of the content size, by the flag in the descriptor
_SIZE_ADDED = 256  # a content size of two bytes counts from here
_BLOCK_HEADER_BYTES = 3
_RLE, _RESERVED = 1, 3  # types of a block
_FRAME_LENGTH_MAX = FRAME_BYTES + FRAME_BYTES // 128 + 64  # more than zstd makes of any content
_TEXT = b"q2v archive sha256 "
TRAILER_BYTES = 8 + len(_TEXT) + 64 + 1
_HELD_FRAMES = 8  # a chain is read in several places at once


def _codec() -> pa.Codec:
    return pa.Codec("zstd", compression_level=LEVEL)


def encode_trailer(sha256: str) -> bytes:
    """The last bytes of an archive; `sha256` is that of all bytes before them, in hex."""
    text = _TEXT + sha256.encode() + b"\n"
    return _SKIPPABLE_MAGIC + len(text).to_bytes(4, "little") + text


def is_like_archive(file: BinaryIO) -> bool:
    """Whether an open file begins or ends as an archive does, so that it may be a damaged one."""
    size = file.seek(0, 2)
    file.seek(max(0, size - TRAILER_BYTES))
    end = file.read()
    file.seek(0)
    begin = file.read(len(_MAGIC))
    return _MAGIC.startswith(begin) or _TEXT in end


def frames_bytes_max(size: int) -> int:
    """More bytes than the frames and the trailer take for a stream of this size."""
    return size + size // 128 + (size // FRAME_BYTES + 1) * 64 + TRAILER_BYTES


class FrameWriter:
    """Packs a stream into frames, in one thread, holding one frame in memory."""

    def __init__(self, file: HashedFile) -> None:
        self._file = file
        self._codec = _codec()
        self._held = bytearray()

    def write(self, content: Buffer) -> None:
        """Append to the stream."""
        self._held += content
        while len(self._held) >= FRAME_BYTES:
            self._write_frame(bytes(self._held[:FRAME_BYTES]))
            del self._held[:FRAME_BYTES]

    def finish(self) -> None:
        """Write the last frame and the trailer; nothing may be written afterwards."""
        if self._held:
            self._write_frame(bytes(self._held))
            self._held.clear()
        self._file.write(encode_trailer(self._file.sha256))

    def _write_frame(self, content: bytes) -> None:
        self._file.write(self._codec.compress(content, asbytes=True))


class FrameReader:
    """Reads an open archive: once from start to end with all checks, then at any place.

    `stream` has to be read to its end before `read_at` is called. The file stays open and is not
    closed here.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._codec = _codec()
        self._lock = Lock()  # Arrow may read from a thread of its own
        self._starts: list[int] = []  # of each frame in the file, and of the trailer
        self._sizes: list[int] = []  # bytes that each frame holds
        self.sha256 = ""  # of the whole file, in hex, after `stream`
        self._held: OrderedDict[int, bytes] = OrderedDict()

    @property
    def file_bytes(self) -> int:
        """Size of the whole file, after `stream`."""
        return self._starts[-1] + TRAILER_BYTES

    def stream(self) -> Iterator[bytes]:
        """The content of each frame, in order.

        Raises ValueError, with what is wrong in words, for anything but frames of `FRAME_BYTES`, a
        last one of at most that, and a trailer with the right SHA-256 at the end of the file.
        """
        digest = hashlib.sha256()
        self._file.seek(0)
        position = 0
        while (magic := self._file.read(len(_MAGIC))) == _MAGIC:
            if self._sizes and self._sizes[-1] != FRAME_BYTES:
                raise ValueError("data after the last frame")
            packed, size = _read_frame(self._file)
            self._starts.append(position)
            self._sizes.append(size)
            position += len(packed)
            digest.update(packed)
            yield self._unpack(packed, size)
        self._starts.append(position)
        self._check_trailer(magic, digest.hexdigest())
        digest.update(encode_trailer(digest.hexdigest()))
        self.sha256 = digest.hexdigest()

    def _check_trailer(self, magic: bytes, sha256: str) -> None:
        found = magic + self._file.read(TRAILER_BYTES)
        expected = encode_trailer(sha256)
        if found == expected:
            return
        if len(found) < TRAILER_BYTES:
            raise ValueError("the end is missing")
        if found.startswith(expected):
            raise ValueError("there are bytes after the end")
        if found[: -len(sha256) - 1] != expected[: -len(sha256) - 1]:
            raise ValueError("neither data nor the end of an archive")
        raise ValueError("its bytes do not match the SHA-256 at its end")

    def read_at(self, position: int, size: int) -> bytes:
        """At most `size` bytes of the stream from a position; fewer at the end of a frame."""
        ordinal, within = divmod(position, FRAME_BYTES)
        with self._lock:
            if ordinal not in self._held:
                self._file.seek(self._starts[ordinal])
                packed = self._file.read(self._starts[ordinal + 1] - self._starts[ordinal])
                self._held[ordinal] = self._unpack(packed, self._sizes[ordinal])
                if len(self._held) > _HELD_FRAMES:
                    self._held.popitem(last=False)
            self._held.move_to_end(ordinal)
            return self._held[ordinal][within : within + size]

    def _unpack(self, packed: bytes, size: int) -> bytes:
        """Raises ValueError for a frame that does not hold exactly `size` bytes."""
        try:
            content = self._codec.decompress(packed, size, asbytes=True)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"a frame cannot be unpacked ({error})") from error
        assert isinstance(content, bytes)
        return content


def _read_frame(file: BinaryIO) -> tuple[bytes, int]:
    """The rest of a frame after its magic number, with the magic; and the bytes that it holds.

    Its length stands nowhere: it follows from the header and the headers of its blocks.
    """
    packed = bytearray(_MAGIC)
    descriptor = _take(file, packed, 1)[0]
    size_flag, is_single = descriptor >> 6, bool(descriptor & 0x20)
    if descriptor & 0x1F or (size_flag == 0 and not is_single):
        raise ValueError("a frame that q2v does not write")
    _take(file, packed, 0 if is_single else 1)  # the size of the window
    size = int.from_bytes(_take(file, packed, _SIZE_BYTES[size_flag] or 1), "little")
    if size_flag == 1:
        size += _SIZE_ADDED
    if not 0 < size <= FRAME_BYTES:
        raise ValueError(f"a frame of {size:,} B, at most {FRAME_BYTES:,} were expected")
    is_last = False
    while not is_last:
        header = int.from_bytes(_take(file, packed, _BLOCK_HEADER_BYTES), "little")
        is_last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == _RESERVED:
            raise ValueError("a block of an unknown type")
        _take(file, packed, 1 if kind == _RLE else length)
    return bytes(packed), size


def _take(file: BinaryIO, packed: bytearray, count: int) -> bytes:
    """Read exactly `count` bytes and add them to the frame."""
    if len(packed) + count > _FRAME_LENGTH_MAX:
        raise ValueError("a frame that is too long")
    found = file.read(count)
    if len(found) != count:
        raise ValueError("the end is missing")
    packed += found
    return found


class FrameSlice(io.RawIOBase):
    """A part of the stream as a file: seekable, for readers of one member."""

    def __init__(self, frames: FrameReader, start: int, size: int) -> None:
        super().__init__()
        self._frames = frames
        self._start = start
        self._size = size
        self._position = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        with memoryview(buffer) as view:
            wanted = min(len(view), self._size - self._position)
            if wanted <= 0:
                return 0
            found = self._frames.read_at(self._start + self._position, wanted)
            view[: len(found)] = found
        self._position += len(found)
        return len(found)
