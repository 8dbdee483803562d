"""The request log: one record per request, for tests that count and compare requests."""

import os
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

import orjson

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
    at: float  # the sandbox's clock

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


class RequestSink(Protocol):
    """Takes a record before its request is answered."""

    def append(self, record: RequestRecord) -> None:
        """Add one."""


class RequestLog:
    """The newest records, oldest first.

    A test may set `before_answer`: it is called with each record after the request took effect and
    before it is answered, in the thread that serves; no other request is served meanwhile.
    """

    def __init__(self) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=RECORDS_MAX)
        self.before_answer: Callable[[RequestRecord], None] = lambda record: None

    def append(self, record: RequestRecord) -> None:
        """Add one."""
        self._records.append(record)
        self.before_answer(record)

    def records(self) -> list[RequestRecord]:
        """A copy of all that are kept."""
        return list(self._records)


class RequestLogFile:
    """One JSON line per record, added to a file that only its owner reads.

    A line is written before its request is answered, so a client that has an answer finds the line.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file cannot be opened."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, record: RequestRecord) -> None:
        """Add one line, in one write."""
        os.write(self._file, orjson.dumps(asdict(record), option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)
