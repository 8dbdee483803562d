"""Requests to the Cloudflare API and their answers, as values: path, body, envelope, fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast
from urllib.parse import quote

import orjson


@dataclass(frozen=True, slots=True)
class ApiError:
    """One entry of `errors`."""

    code: int  # >= 1000
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An answer that is a JSON object: a success, a refusal, or neither."""

    success: bool | None  # None when missing or no bool
    errors: tuple[ApiError, ...]
    errors_listed: bool  # whether `errors` is a list at all
    result: object
    result_info: dict[str, object]

    @property
    def is_service_form(self) -> bool:
        """Whether it has the two members that every answer of the API has, refusals included.

        Proxies, edge pages and other servers answer in other forms, some of them JSON.
        """
        return self.success is not None and self.errors_listed


def decode_envelope(body: bytes) -> Envelope | None:
    """Parse the body of an answer; None when it is no JSON object.

    Strict: a byte order mark, NaN or a lone surrogate makes an answer unusable.
    """
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(decoded, dict):
        return None
    success = decoded.get("success")
    info = decoded.get("result_info")
    return Envelope(
        success=success if isinstance(success, bool) else None,
        errors=_read_errors(decoded.get("errors")),
        errors_listed=isinstance(decoded.get("errors"), list),
        result=decoded.get("result"),
        result_info=info if isinstance(info, dict) else {},
    )


def _read_errors(raw: object) -> tuple[ApiError, ...]:
    """The entries that have an integer code; the others are left out."""
    if not isinstance(raw, list):
        return ()
    return tuple(
        ApiError(code, str(entry.get("message", "")))
        for entry in raw
        if isinstance(entry, dict) and isinstance(code := entry.get("code"), int)
    )


T = TypeVar("T")

JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """The purpose of a request, as errors name it, and the permission that it needs."""

    name: str
    scope: str  # as the dashboard spells it; "" where any token may ask


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request. Sending it again sends the same bytes."""

    operation: Operation
    method: str
    path: str  # below the base URL, percent-encoded
    query: Mapping[str, str] = field(default_factory=dict)
    body: Sequence[bytes] = ()
    content_type: str | None = None

    @property
    def body_bytes(self) -> int:
        """The size of the body in bytes."""
        return sum(map(len, self.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer whose status and envelope say success; its result has not been read yet."""

    envelope: Envelope | None  # None for a raw body
    body: bytes
    date: str | None  # the Date header: the service's own clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Generic[T]):
    """The value of a successful answer."""

    value: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The service refused. If `attempts` is above 1, an earlier attempt may have been applied."""

    status: int
    code: int | None
    text: str  # masked
    ray: str  # masked, "" without one
    attempts: int


@dataclass(frozen=True, slots=True)
class Oversized:
    """The answer has more than `bytes_max` bytes; it was discarded."""

    bytes_max: int


Outcome = Received[T] | Refusal | Oversized


class UnusableAnswerError(Exception):
    """A successful answer without the documented content. Readers raise it; it leads to a retry."""


def encode_segment(text: str) -> str:
    """One path segment with everything but letters, digits and `-_~.` escaped.

    `.` and `..` would change the path and are never valid names here.
    """
    assert text not in {"", ".", ".."}
    return quote(text, safe="")


def refusal_sentence(
    operation: Operation, status: int, code: int | None, text: str, ray: str
) -> str:
    """One sentence: the operation, the refusal, and the ray id, which Cloudflare support needs."""
    parts = [f"{operation.name}: HTTP {status}"]
    if code is not None:
        parts.append(f", code {code}")
    if text:
        parts.append(f": {text}")
    if ray:
        parts.append(f" (cf-ray {ray})")
    return "".join(parts)


def result_of(answer: Answer, kind: type[T], what: str) -> T:
    """The envelope's `result`. Raises UnusableAnswerError if it is not of the type `kind`."""
    result = answer.envelope.result if answer.envelope is not None else None
    if not isinstance(result, kind):
        raise UnusableAnswerError(f"without {what} as its result")
    return result


def member(record: dict[str, object], name: str, kind: type[T], what: str) -> T:
    """A required member. Raises UnusableAnswerError unless it is a `kind`; a bool is no number."""
    value = record.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UnusableAnswerError(f"without '{name}' in {what}")
    return value


def optional_member(record: dict[str, object], name: str, kind: type[T], what: str) -> T | None:
    """A member that may be missing or null. Raises UnusableAnswerError for another type."""
    if record.get(name) is None:
        return None
    return member(record, name, kind, what)


def objects_of(records: list[object], what: str) -> list[dict[str, object]]:
    """The list itself. Raises UnusableAnswerError unless it holds only JSON objects."""
    if not all(isinstance(record, dict) for record in records):
        raise UnusableAnswerError(f"with something else than objects among {what}")
    return cast("list[dict[str, object]]", records)


def texts_of(records: list[object], what: str) -> list[str]:
    """The list itself. Raises UnusableAnswerError unless it holds only strings."""
    if not all(isinstance(record, str) for record in records):
        raise UnusableAnswerError(f"with something else than strings among {what}")
    return cast("list[str]", records)
