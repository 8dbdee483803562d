"""What came in: one record per request, for tests that count, compare and look at the wire."""

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qsl

RECORDS_MAX = 100_000  # the oldest are dropped


@dataclass(frozen=True)
class RequestRecord:
    """One request and the status it was answered with; no body is kept."""

    method: str
    path: str  # as sent, with the prefix of the base URL
    query: str  # as sent
    status: int  # 0: no answer, the connection was cut
    body_bytes: int
    body_sha256: str  # hexadecimal
    at: float  # the stand-in's clock

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


class RequestLog:
    """The newest records, oldest first."""

    def __init__(self) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=RECORDS_MAX)

    def append(self, record: RequestRecord) -> None:
        """Add one."""
        self._records.append(record)

    def records(self) -> list[RequestRecord]:
        """A copy of all that are kept."""
        return list(self._records)
