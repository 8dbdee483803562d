"""One request to the target's API and what may come of it: records, no wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote

from migrate.cloudflare.client.envelope import Envelope

T = TypeVar("T")

JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a request is for, as errors name it, and the permission it needs."""

    name: str
    scope: str  # as the dashboard spells it


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request, repeatable byte for byte."""

    operation: Operation
    method: str
    path: str  # below the base URL, percent-encoded
    query: Mapping[str, str] = field(default_factory=dict)
    body: Sequence[bytes] = ()
    content_type: str | None = None

    @property
    def body_bytes(self) -> int:
        """The size of the body."""
        return sum(map(len, self.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that counts as a success so far."""

    envelope: Envelope | None  # None for a raw body
    body: bytes
    date: str | None  # the Date header: the service's own clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Generic[T]):
    """The service did what was asked."""

    value: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The service refused; `attempts` above 1 says that an earlier try may have been taken."""

    status: int
    code: int | None
    text: str  # masked
    ray: str  # masked, "" without one
    attempts: int


@dataclass(frozen=True, slots=True)
class Oversized:
    """The answer is larger than we read; it was dropped."""

    bytes_max: int


Outcome = Received[T] | Refusal | Oversized


class UnusableAnswerError(Exception):
    """A success whose content is not what was promised; raised by readers, leads to a retry."""


def encode_segment(text: str) -> str:
    """One path segment with everything but letters, digits and `-_~.` escaped.

    `.` and `..` would change the path and are never valid names here.
    """
    assert text not in {"", ".", ".."}
    return quote(text, safe="")


def refusal_sentence(
    operation: Operation, status: int, code: int | None, text: str, ray: str
) -> str:
    """What was refused, how, and the id the provider's support asks for."""
    parts = [f"{operation.name}: HTTP {status}"]
    if code is not None:
        parts.append(f", code {code}")
    if text:
        parts.append(f": {text}")
    if ray:
        parts.append(f" (cf-ray {ray})")
    return "".join(parts)
