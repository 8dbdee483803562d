"""Operations of the API: which function answers which method and path."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request

from sandbox.errors import ServiceError, invalid_kv
from sandbox.exchange.form import parse_form
from sandbox.exchange.steps import Answer
from sandbox.limits import JSON_BYTES_MAX
from sandbox.vectorize.ndjson import UploadParser

_DIGITS_MAX = 12  # no number in a query string is longer


@dataclass(frozen=True)
class Call:
    """A request that has arrived whole."""

    request: Request
    body: bytes | bytearray
    upload: UploadParser | None = None  # has read the body as it came in; `body` is empty then
    struck: frozenset[str] = field(default_factory=frozenset)  # faults this request suffers

    @property
    def content_type(self) -> str:
        """The bare media type in lower case."""
        return media_type(self.request)

    @property
    def parameters(self) -> Mapping[str, str]:
        """The query's parameters; of one given twice, the last."""
        return self.request.query_params

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """A whole number of the query. Raises ServiceError outside of its range."""
        given = self.parameters.get(name, str(default))
        is_number = given.isascii() and given.isdigit() and len(given) < _DIGITS_MAX
        if not is_number or not least <= int(given) <= most:
            raise invalid_kv(f"{name} must be in the range [{least}, {most}]")
        return int(given)

    def form(self, refusal: ServiceError) -> Mapping[str, bytes]:
        """The parts of a multipart body by name. Raises `refusal` if it is none."""
        return parse_form(self.body, content_type(self.request), refusal=refusal)

    def json(self, refusal: ServiceError) -> Any:
        """The body as JSON. Raises `refusal` if it is none."""
        try:
            return orjson.loads(self.body)
        except ValueError as error:
            raise refusal from error


def content_type(request: Request) -> str:
    """The header as it was sent; empty without one.

    Cloudflare's Python client sends two, its own and that of the caller: the last one counts.
    """
    return next(reversed(request.headers.getlist("content-type")), "")


def media_type(request: Request) -> str:
    """The bare media type of a body in lower case; empty if the request names none."""
    return content_type(request).partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `answer` gets the call and the free parts of the path, in order.

    `{account}` is checked by the app and not given.
    """

    method: str
    path: str  # below /client/v4/; braces mark its free parts
    answer: Callable[..., Answer]
    kind: str = "other"  # what faults choose by; see faults.py
    body_bytes_max: int = JSON_BYTES_MAX
    # For a body that is read as it comes in: its parser, or None for one that is kept whole.
    open_upload: Callable[..., UploadParser | None] | None = None
