"""The frames of an archive: read whole or at any place, and every changed byte is found."""

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.archive.frames import (
    FRAME_BYTES,
    TRAILER_BYTES,
    FrameReader,
    FrameSlice,
    FrameWriter,
    encode_trailer,
    frames_bytes_max,
)
from migrate.storage.hashed_file import HashedFile
from tests.migrate.archive.archives import Sink, packed, unpacked

SIZES = (1, 100, 255, 256, 65_791, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1)


def stream(size: int) -> bytes:
    """Half of it packs well, half not at all."""
    chance = random.Random(size)
    return chance.randbytes(size // 2) + bytes(size - size // 2)


def read(content: bytes) -> bytes:
    """Raises ValueError as `FrameReader.stream`."""
    return b"".join(FrameReader(io.BytesIO(content)).stream())


@pytest.mark.parametrize("size", SIZES)
def test_what_was_packed_is_read_by_q2v_and_by_other_decoders(size: int) -> None:
    whole = stream(size)
    content = packed(whole)

    assert read(content) == whole
    assert unpacked(content) == whole
    assert len(content) <= frames_bytes_max(size)


@pytest.mark.parametrize("size", [1, 777, 1 << 20, FRAME_BYTES + 5])
def test_pieces_of_any_size_give_the_same_bytes(size: int) -> None:
    whole = stream(FRAME_BYTES + 1_000) if size > 1 else stream(1_000)
    sink = Sink()
    with HashedFile(sink) as file:
        frames = FrameWriter(file)
        for start in range(0, len(whole), size):
            frames.write(whole[start : start + size])
        frames.finish()

    assert sink.content == packed(whole)


@pytest.mark.slow
def test_any_place_is_read_without_what_lies_before_it() -> None:
    whole = stream(2 * FRAME_BYTES + 12_345)
    frames = FrameReader(io.BytesIO(packed(whole)))
    for _ in frames.stream():
        pass
    file = io.BufferedReader(FrameSlice(frames, 1_000, 2 * FRAME_BYTES))
    chance = random.Random(1)

    for _ in range(200):
        start, size = chance.randrange(2 * FRAME_BYTES + 10), chance.randrange(200_000)
        file.seek(start)
        assert file.read(size) == whole[1_000 : 1_000 + 2 * FRAME_BYTES][start : start + size]
    assert file.seek(-5, io.SEEK_END) == 2 * FRAME_BYTES - 5
    assert len(file.read()) == 5


def test_a_stream_of_many_frames_holds_few_of_them() -> None:
    whole = bytes(12 * FRAME_BYTES)
    frames = FrameReader(io.BytesIO(packed(whole)))
    for _ in frames.stream():
        pass
    file = FrameSlice(frames, 0, len(whole))
    for ordinal in range(12):
        file.seek(ordinal * FRAME_BYTES)
        assert file.read(10) == bytes(10)

    assert len(frames._held) <= 8  # noqa: SLF001 - the bound on memory


@pytest.mark.fault("A01")
@given(st.binary(min_size=1, max_size=600), st.data())
def test_a_flipped_a_missing_and_an_added_byte_are_found(whole: bytes, data: st.DataObject) -> None:
    content = packed(whole)
    at = data.draw(st.integers(0, len(content) - 1))
    bit = data.draw(st.integers(0, 7))
    flipped = bytearray(content)
    flipped[at] ^= 1 << bit

    for bad in (bytes(flipped), content[:at], content + data.draw(st.binary(min_size=1))):
        with pytest.raises(ValueError, match=r"frame|end|SHA-256|block|data"):
            read(bad)


@pytest.mark.fault("A01", "X10")
@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (bytes.fromhex("28b52ffd00") + bytes(20), "does not write"),  # no size
        (bytes.fromhex("28b52ffd24") + bytes(20), "does not write"),  # a checksum
        (bytes.fromhex("28b52ffd21") + bytes(20), "does not write"),  # a dictionary
        (bytes.fromhex("28b52ffd2000") + bytes(20), "a frame of 0 B"),
        (bytes.fromhex("28b52ffde0") + b"\xff" * 8, "at most"),  # 2^64 bytes of content
        (bytes.fromhex("28b52ffd2005") + b"\x07\0\0", "unknown type"),
        (bytes.fromhex("28b52ffd2005") + b"\xf8\xff\xff" * 9, "the end is missing"),
        (bytes.fromhex("28b52ffd2005") + b"\x02\0\0\0" * 9_000_000, "too long"),  # no last block
        (b"", "the end is missing"),
        (b"PK\x03\x04" + bytes(200), "neither data nor the end"),
        (bytes(TRAILER_BYTES), "neither data nor the end"),
    ],
    ids=map(str, range(11)),
)
def test_a_frame_that_could_cost_memory_or_has_no_end_is_refused(frame: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(frame + (encode_trailer("0" * 64) if len(frame) > 4 else b""))


def test_a_frame_after_one_that_was_not_full_is_refused() -> None:
    """Positions in the stream would not lead to the right frame."""
    two = packed(b"first")[:-TRAILER_BYTES] + packed(b"second")

    with pytest.raises(ValueError, match="after the last frame"):
        read(two)
