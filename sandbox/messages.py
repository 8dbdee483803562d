"""Requests and answers as the routes see them: decoded once, wrapped in the API's envelope."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import orjson

from sandbox.errors import ServiceError, invalid_kv
from sandbox.vectorize.ndjson import UploadParser

Result = Any  # what orjson can write
_DIGITS_MAX = 12  # no number in a query string is longer


@dataclass(frozen=True)
class Request:
    """One request, read to its end."""

    method: str
    path: str  # as sent: still percent-encoded
    query: str  # as sent
    headers: Mapping[str, str]  # names in lower case
    body: bytes | bytearray
    upload: UploadParser | None = None  # has read the body as it came in; `body` is empty then
    struck: frozenset[str] = field(default_factory=frozenset)  # faults this one suffers

    def suffering(self, struck: frozenset[str]) -> "Request":
        """The same request, with the faults it meets."""
        return replace(self, struck=struck) if struck else self

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path, each percent-decoded exactly once."""
        try:
            return tuple(
                unquote_to_bytes(part).decode() for part in self.path.lstrip("/").split("/")
            )
        except UnicodeDecodeError as error:
            raise invalid_kv("the path is not valid UTF-8") from error

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The query's parameters; of one given twice, the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @cached_property
    def content_type(self) -> str:
        """The bare media type in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self, refusal: ServiceError) -> Result:
        """The body as JSON. Raises `refusal` if it is none."""
        try:
            return orjson.loads(self.body)
        except ValueError as error:
            raise refusal from error


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False  # no answer at all: the connection is torn down


CUT = Response(0, b"", cut=True)


def whole_number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A parameter of the query, within its range. Raises ServiceError outside of it."""
    given = request.parameters.get(name, str(default))
    number = int(given) if given.isascii() and given.isdigit() and len(given) < _DIGITS_MAX else -1
    if not least <= number <= most:
        raise invalid_kv(f"{name} must be in the range [{least}, {most}]")
    return int(given)


def timestamp(at: float, timespec: str) -> str:
    """Three spellings of one time, as the service writes them in different places."""
    moment = datetime.fromtimestamp(at, UTC)
    if timespec == "nanoseconds":
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "147+00:00"
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def success(result: Result, **members: Result) -> Response:
    """HTTP 200 with a result; `members` go beside it."""
    envelope = {"success": True, "errors": [], "messages": [], "result": result, **members}
    return Response(200, orjson.dumps(envelope, option=orjson.OPT_SERIALIZE_NUMPY))


def failure(error: ServiceError) -> Response:
    """A refusal in the envelope."""
    envelope = {
        "success": False,
        "errors": [{"code": error.code, "message": error.message}],
        "messages": [],
        "result": None,
    }
    return Response(error.status, orjson.dumps(envelope), headers=error.headers)


def edge_page(status: int, title: str) -> Response:
    """A page of the edge, in front of the API: HTML, no envelope."""
    page = f"<html><head><title>{status} {title}</title></head><body>{title}</body></html>\n"
    return Response(status, page.encode(), "text/html; charset=UTF-8")
