"""An httpx transport with one deadline for each attempt.

The time-outs of httpx restart with each byte, so an attempt against a peer that sends one byte per
second would never end. Here no socket call waits past the deadline of the attempt. Connecting, the
TLS handshake, the request, the headers and the body of the answer share one deadline.
"""

import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx
from typing_extensions import override

from migrate.errors import UsageError
from migrate.model.limits import READS_IN_FLIGHT_MAX
from migrate.ports import Clock
from migrate.transport.trust import ClientCertificate, trusting_context

# The deadline is checked between two pieces. Through TLS one piece takes one or two system calls; a
# socket without TLS takes as much of a piece as it has room for, in one call.
TLS_PIECE_BYTES = 64 * 1024
PIECE_BYTES = 1024 * 1024
CONNECTIONS_MAX = READS_IN_FLIGHT_MAX  # so that no reader waits for a connection


class Deadline:
    """The end of the current attempt of each thread. Outside of an attempt there is none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._thread = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give the block `seconds` in all."""
        self._thread.ends_s = self._clock.monotonic_s() + seconds
        try:
            yield
        finally:
            self._thread.ends_s = None

    def cut(self, timeout_s: float | None, late: type[httpcore.TimeoutException]) -> float | None:
        """The smaller of the time-out and the remaining time. Raises `late` if none remains."""
        ends_s = getattr(self._thread, "ends_s", None)
        if ends_s is None:
            return timeout_s
        remaining_s = ends_s - self._clock.monotonic_s()
        if remaining_s <= 0:
            raise late("the attempt's deadline has passed")
        return float(remaining_s) if timeout_s is None else float(min(timeout_s, remaining_s))


class _DeadlineStream(httpcore.NetworkStream):
    """A connection that checks the deadline before each socket call."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.cut(timeout, httpcore.ReadTimeout))

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)  # slices without copying
        plain = self._plain_socket()
        while view:
            timeout_s = self._deadline.cut(timeout, httpcore.WriteTimeout)
            if plain is None:
                piece = view[:TLS_PIECE_BYTES]
                self._stream.write(cast("bytes", piece), timeout_s)
                view = view[len(piece) :]
            else:
                view = view[_send(plain, view[:PIECE_BYTES], timeout_s) :]

    def _plain_socket(self) -> socket.socket | None:
        """The socket without TLS: httpcore would send a piece in a loop without the deadline."""
        if self._stream.get_extra_info("ssl_object") is not None:
            return None
        found = self._stream.get_extra_info("socket")
        return found if isinstance(found, socket.socket) else None

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


def _send(to: socket.socket, piece: memoryview, timeout_s: float | None) -> int:
    """Send as much of the piece as the socket takes; the number of bytes. Raises as httpcore."""
    try:
        to.settimeout(timeout_s)
        return to.send(piece)
    except TimeoutError as error:
        raise httpcore.WriteTimeout(str(error)) from error
    except OSError as error:
        raise httpcore.WriteError(str(error)) from error


class _DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections within the deadline."""

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
        """Try each address of the host; httpcore would give each one the whole time-out."""
        failure: Exception = httpcore.ConnectError(f"no address of {host}")
        for address in _addresses(host, port):
            timeout_s = self._deadline.cut(timeout, httpcore.ConnectTimeout)
            try:
                stream = self._backend.connect_tcp(
                    address,
                    port,
                    timeout=timeout_s,
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            return _DeadlineStream(stream, self._deadline)
        raise failure


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The properties of an address that a connection depends on."""

    host: str
    tls: bool
    loopback: bool
    ca_file: Path | None = None  # PEM of further authorities to trust
    client: ClientCertificate | None = None  # that is shown to this host, and to no proxy


class DeadlineTransport(httpx.HTTPTransport):
    """Connections to one host, kept between requests, HTTP/1.1, with verified TLS."""

    def __init__(self, line: Line, deadline: Deadline, *, keep_idle_s: float | None = None) -> None:
        """A connection that was idle for `keep_idle_s` seconds is not used again; None = no limit.

        A proxy named in the environment is used for https only, and never for this machine.
        Raises UsageError for a proxy or a trust store that cannot be used.
        """
        context = (
            trusting_context(line.ca_file, line.client)
            if line.tls
            else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no certificate; not used
        )
        super().__init__(
            verify=context,
            trust_env=False,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=keep_idle_s),
            proxy=_proxy(line),
        )
        # httpx has no public argument for a network backend. Checked with httpx 0.28.1; the tests
        # of rows N10 and F14 fail if this has no effect.
        self._pool._network_backend = _DeadlineBackend(deadline)  # noqa: SLF001


def find_proxy(line: Line) -> str | None:
    """The address of the proxy for this line, from HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    None for plain http, which a proxy could read. The address may hold a password.
    """
    if line.loopback or not line.tls:
        return None
    address = getproxies().get("https") or getproxies().get("all")
    if not address or proxy_bypass(line.host):
        return None
    return address if "://" in address else f"http://{address}"


def _proxy(line: Line) -> httpx.Proxy | None:
    """The proxy of this line, or None. TLS goes through it unopened, so it sees no token."""
    address = find_proxy(line)
    if address is None:
        return None
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(
            "HTTPS_PROXY (or ALL_PROXY) names a proxy that q2v cannot use, expected "
            "http://host:port or https://host:port",
            remedy=f"correct the variable, or add {line.host} to NO_PROXY to connect without it",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    return httpx.Proxy(
        f"{parts.scheme}://{host}{port}",
        auth=auth,
        ssl_context=trusting_context(line.ca_file) if parts.scheme == "https" else None,
    )
