"""An httpx transport whose every attempt has a deadline, whatever the peer does.

The library's own time-outs start anew with each byte, so a peer that sends one byte per second
would hold us for ever. Here no socket call waits past the deadline of the attempt.
"""

import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx
from typing_extensions import override

from migrate.core.base_url import BaseUrl
from migrate.core.limits import READS_IN_FLIGHT_MAX
from migrate.ports import Clock

WRITE_PIECE_BYTES = 1024 * 1024  # between two pieces the deadline is looked at
CONNECTIONS_MAX = READS_IN_FLIGHT_MAX  # so that none of them waits for a connection


class Deadline:
    """When the attempt of this thread has to be over; none outside of an attempt."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._thread = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Everything inside has `seconds` in all."""
        self._thread.ends_s = self._clock.monotonic_s() + seconds
        try:
            yield
        finally:
            self._thread.ends_s = None

    def cut(self, timeout_s: float | None, late: type[httpcore.TimeoutException]) -> float | None:
        """The smaller of the time-out and what is left; raises `late` when nothing is left."""
        ends_s = getattr(self._thread, "ends_s", None)
        if ends_s is None:
            return timeout_s
        left_s = ends_s - self._clock.monotonic_s()
        if left_s <= 0:
            raise late("the attempt's deadline has passed")
        return float(left_s) if timeout_s is None else float(min(timeout_s, left_s))


class _DeadlineStream(httpcore.NetworkStream):
    """A connection that asks the deadline before each socket call."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.cut(timeout, httpcore.ReadTimeout))

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)  # slices without copying
        for start in range(0, len(view), WRITE_PIECE_BYTES):
            piece = view[start : start + WRITE_PIECE_BYTES]
            timeout_s = self._deadline.cut(timeout, httpcore.WriteTimeout)
            self._stream.write(cast("bytes", piece), timeout_s)

    @override
    def close(self) -> None:
        self._stream.close()

    @override
    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout_s = self._deadline.cut(timeout, httpcore.ConnectTimeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout_s)
        return _DeadlineStream(stream, self._deadline)

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections that keep to the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._backend = httpcore.SyncBackend()
        self._deadline = deadline

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._backend.connect_tcp(
            host,
            port,
            timeout=self._deadline.cut(timeout, httpcore.ConnectTimeout),
            local_address=local_address,
            socket_options=socket_options,
        )
        return _DeadlineStream(stream, self._deadline)


@contextmanager
def _as_httpx_errors(request: httpx.Request) -> Iterator[None]:
    """The two libraries name their exceptions alike; httpx's are the ones we translate."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        kind: type[httpx.RequestError] = getattr(httpx, type(error).__name__)
        raise kind(str(error), request=request) from error


class _Body(httpx.SyncByteStream):
    """The body of an answer, as it comes."""

    def __init__(self, response: httpcore.Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    @override
    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx_errors(self._request):
            yield from self._response.iter_stream()

    @override
    def close(self) -> None:
        with _as_httpx_errors(self._request):
            self._response.close()


class DeadlineTransport(httpx.BaseTransport):
    """Connections to one host, kept between requests, HTTP/1.1, with verified TLS."""

    def __init__(self, base_url: BaseUrl, deadline: Deadline) -> None:
        """Proxies of the environment are used for every host but this machine."""
        backend = _DeadlineBackend(deadline)
        proxy = None if base_url.loopback else _proxy_of_environment(base_url)
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusting_context() if base_url.url.startswith("https:") else None,
            proxy=proxy,
            max_connections=CONNECTIONS_MAX,
            network_backend=backend,
        )

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the answer's body is read later, by who reads the response."""
        assert isinstance(request.stream, httpx.SyncByteStream)
        wire = httpcore.Request(
            method=request.method.encode("ascii"),
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx_errors(request):
            response = self._pool.handle_request(wire)
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response, request),
            extensions=response.extensions,
        )

    @override
    def close(self) -> None:
        """Let go of all connections."""
        self._pool.close()


def trusting_context() -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and host name verified; there is no switch for less.

    Trusts the bundled authorities, or those of SSL_CERT_FILE / SSL_CERT_DIR.
    """
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    return context


def _proxy_of_environment(base_url: BaseUrl) -> httpcore.Proxy | None:
    """HTTPS_PROXY and NO_PROXY; the tunnel is TLS from end to end, the proxy sees no token."""
    address = getproxies().get("https") or getproxies().get("all")
    if not address or proxy_bypass(base_url.host):
        return None
    parts = urlsplit(address if "://" in address else f"http://{address}")
    port = f":{parts.port}" if parts.port else ""
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    return httpcore.Proxy(url=f"{parts.scheme}://{parts.hostname}{port}", auth=auth)
