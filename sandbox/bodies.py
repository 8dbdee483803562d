"""Read request bodies: whole within a limit, as JSON, or one part of a form."""

import re
from email.message import Message

import orjson
from starlette.requests import Request

from sandbox.errors import ServiceError, not_parsable
from sandbox.metadata import bad_json

_BODY_BYTES_MAX = 120_000_000


async def read_body(request: Request, *, bytes_max: int = _BODY_BYTES_MAX) -> bytes:
    """The whole body. Raises the 413 as soon as it is known to be too large."""
    size = 0
    pieces: list[bytes] = []
    too_large = ServiceError(413, 10413, "request entity too large")
    if int(request.headers.get("content-length") or 0) > bytes_max:
        raise too_large
    async for piece in request.stream():
        size += len(piece)
        if size > bytes_max:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


async def read_json(request: Request) -> object:
    """The body as JSON. Raises the refusal of anything else."""
    try:
        return orjson.loads(await read_body(request))
    except orjson.JSONDecodeError as error:
        raise bad_json() from error


def read_form(body: bytes, content_type: str) -> dict[str, bytes]:
    """Name -> content of every part of a multipart form."""
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str):
        raise ServiceError(400, 1005, "a form needs a boundary")
    parts: dict[str, bytes] = {}
    for part in body.split(b"--" + boundary.encode())[1:]:
        if part.startswith(b"--"):
            break
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name is not None:
            parts[name[1].decode()] = content.removesuffix(b"\r\n")
    return parts


def read_part(body: bytes, content_type: str, name: str) -> bytes:
    """One part of a form. Raises the parser's refusal when it is not there."""
    parts = read_form(body, content_type)
    if name not in parts:
        raise not_parsable()
    return parts[name]
