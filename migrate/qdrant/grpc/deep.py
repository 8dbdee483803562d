"""Remove payloads from a gRPC answer that are nested too deeply for the protobuf library.

The library allows 100 levels and refuses the whole answer beyond that; one level of a payload takes
three. This module splits the answer into its fields by their lengths, without parsing what they
hold. It removes the payloads that are too deep and returns their positions, so that the rest of
the page can be parsed.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError, Message

from migrate.qdrant.grpc.messages import wire

_POINT = wire.RetrievedPoint.DESCRIPTOR.fields_by_name
_PAYLOAD = _POINT["payload"].number
_VARINT, _BITS_64, _WITH_LENGTH, _BITS_32 = 0, 1, 2, 5
_FIXED_BYTES = {_BITS_64: 8, _BITS_32: 4}


def strip_deep_payloads(answer: bytes, kind: type[Message]) -> tuple[bytes, list[int]]:
    """The answer, and the positions of the points in it whose payload was removed.

    Raises ValueError when it is no message, or too deep in another field.
    """
    number = kind.DESCRIPTOR.fields_by_name["result"].number
    pieces: list[bytes] = []
    stripped: list[int] = []
    position = 0
    for field, start, content, end in _read_fields(answer):
        if field != number:
            pieces.append(answer[start:end])
            continue
        point = answer[content:end]
        if not _parses(point):
            point = _without_payload(point)
            stripped.append(position)
        pieces += [_encode_varint(number << 3 | _WITH_LENGTH), _encode_varint(len(point)), point]
        position += 1
    return b"".join(pieces), stripped


def _parses(point: bytes) -> bool:
    message: Any = wire.RetrievedPoint
    try:
        message.FromString(point)
    except DecodeError:
        return False
    return True


def _without_payload(point: bytes) -> bytes:
    kept = [point[start:end] for field, start, _, end in _read_fields(point) if field != _PAYLOAD]
    return b"".join(kept)


def _read_fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Number, start, start of the content, and end of every field."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        kind, content = tag & 7, at
        if kind == _WITH_LENGTH:
            length, content = _read_varint(message, at)
            at = content + length
        elif kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind in _FIXED_BYTES:
            at += _FIXED_BYTES[kind]
        else:
            raise ValueError(f"the answer is no message: field of kind {kind}")
        if at > len(message):
            raise ValueError("the answer is no message: it ends within a field")
        yield tag >> 3, start, content, at


_MORE_FOLLOWS = 128  # the bit of a byte that is not the last of a number


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < _MORE_FOLLOWS:
            return value, at
    raise ValueError("the answer is no message: it ends within a number")


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= _MORE_FOLLOWS:
        encoded.append(value & 127 | _MORE_FOLLOWS)
        value >>= 7
    return bytes([*encoded, value])
