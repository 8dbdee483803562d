"""Send one request once, within its deadline, and read its answer up to a size limit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from migrate.cloudflare.client.api import ApiRequest
from migrate.cloudflare.client.base_url import BaseUrl
from migrate.model.limits import PIECE_BYTES
from migrate.ports import Clock
from migrate.transport.deadline import Deadline, DeadlineTransport, Line

ANSWER_BYTES_MAX = 64 * 1024 * 1024  # fault matrix N10; the largest valid answer has a few MB


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Time limits of one attempt, and the number of attempts."""

    connect_s: float = 10.0
    read_s: float = 60.0  # without a byte from the server
    write_s: float = 60.0  # without the server taking a byte
    total_s: float = 120.0  # for a request without a body
    upload_bytes_per_s_min: int = 200_000  # a body adds its bytes / this to `total_s`
    attempts_max: int = 8  # about a minute of waiting in all


class HttpWire:
    """Connections to one base URL. Raises httpx's exceptions, which the client translates."""

    def __init__(
        self,
        base_url: BaseUrl,
        token: str,
        *,
        clock: Clock,
        limits: HttpLimits,
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`transport` replaces the network in tests; None opens connections.

        `ca_file` holds further authorities to trust. Raises UsageError when it is not usable.
        """
        self._base_url = base_url
        self._limits = limits
        self._deadline = Deadline(clock)
        line = Line(
            host=base_url.host,
            tls=base_url.url.startswith("https:"),
            loopback=base_url.loopback,
            ca_file=ca_file,
        )
        self._client = httpx.Client(
            transport=transport or DeadlineTransport(line, self._deadline),
            headers={
                "Authorization": f"Bearer {token}",
                "Accept-Encoding": "gzip",
                "User-Agent": "q2v",
            },
            follow_redirects=False,
            trust_env=False,  # the transport decides about proxies; no other variable is used
            timeout=httpx.Timeout(limits.read_s, connect=limits.connect_s, write=limits.write_s),
        )

    def send_once(self, request: ApiRequest) -> tuple[httpx.Response, bytes | None]:
        """The response and its body; the body is None above ANSWER_BYTES_MAX."""
        size = request.body_bytes
        headers = {} if request.content_type is None else {"Content-Type": request.content_type}
        if request.body or request.method in {"POST", "PUT"}:
            headers["Content-Length"] = str(size)
        outgoing = self._client.build_request(
            request.method,
            self._base_url.url + request.path,
            params=dict(request.query) or None,
            content=_pieces(request.body) if request.body else None,
            headers=headers,
        )
        with self._deadline.within(self.total_s(request)):
            response = self._client.send(outgoing, stream=True)
            try:
                return response, read_capped(response)
            finally:
                response.close()

    def total_s(self, request: ApiRequest) -> float:
        """The deadline of one attempt, in seconds. Nothing of the request is sent after it."""
        return self._limits.total_s + request.body_bytes / self._limits.upload_bytes_per_s_min

    def close(self) -> None:
        """Close the connections. Calling it again does nothing."""
        self._client.close()


def _pieces(body: Sequence[bytes]) -> Iterator[bytes]:
    """The bytes of the body, with small pieces joined to at least PIECE_BYTES."""
    held: list[bytes] = []
    size = 0
    for piece in body:
        if len(piece) >= PIECE_BYTES and not held:
            yield piece
            continue
        held.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def read_capped(response: httpx.Response) -> bytes | None:
    """The decoded body; None when it has more than ANSWER_BYTES_MAX bytes."""
    held: list[bytes] = []
    size = 0
    for piece in response.iter_bytes():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            return None
        held.append(piece)
    return b"".join(held)
