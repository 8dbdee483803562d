"""The parts of a multipart/form-data body."""

from collections.abc import Mapping
from email.message import Message

from sandbox.errors import ServiceError

_PARTS_MAX = 100  # no client sends more than two
_HEAD_BYTES_MAX = 8_192  # of one part


def parse_form(
    body: bytes | bytearray, content_type: str, *, refusal: ServiceError
) -> Mapping[str, bytes]:
    """Contents by part name; of a name given twice, the first. Raises `refusal` if malformed."""
    boundary = _parameter(content_type, "boundary")
    if not boundary:
        raise refusal
    delimiter = b"--" + boundary.encode("latin-1")
    parts: dict[str, bytes] = {}
    start = body.find(delimiter)
    for _ in range(_PARTS_MAX):
        if start < 0:
            break
        start += len(delimiter)
        if body[start : start + 2] == b"--":
            return parts
        end = body.find(b"\r\n" + delimiter, start)
        head_end = body.find(b"\r\n\r\n", start, end)
        if end < 0 or not 0 <= head_end - start <= _HEAD_BYTES_MAX:
            break
        name = _part_name(bytes(body[start:head_end]))
        if name is not None:
            parts.setdefault(name, bytes(body[head_end + 4 : end]))
        start = end + 2
    raise refusal


def _part_name(head: bytes) -> str | None:
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            return _parameter(value, "name")
    return None


def _parameter(value: str, name: str) -> str | None:
    message = Message()
    message["content-type"] = value.strip()
    parameter = message.get_param(name)
    return parameter if isinstance(parameter, str) else None
