"""The address of a Qdrant server: host, both ports, and whether an API key may be sent to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from migrate.errors import UsageError
from migrate.loopback import is_loopback
from migrate.transport.deadline import Line
from migrate.transport.trust import ClientCertificate

HOST_SHOWN_MAX = 100
REST_PORT = 6333
GRPC_PORT = 6334


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """The parts of a server's url, and of the one of its gRPC API where that is another."""

    host: str  # as given, lower case, IPv6 without brackets
    tls: bool
    rest_port: int
    grpc_host: str
    grpc_tls: bool
    grpc_port: int
    port_given: bool  # whether the url names a port
    grpc_given: bool  # whether gRPC has a url of its own
    path: str  # "" or "/prefix" of a reverse proxy; only REST works below one

    @classmethod
    def parse(
        cls, url: str, *, grpc_port: int | None = None, grpc_url: str | None = None
    ) -> "ServerAddress":
        """Read `http(s)://host[:port][/prefix]`, and `grpc_url` of the same form, no prefix.

        Without a port, or with one of Qdrant's own two, both ports are Qdrant's. Any other port
        is used for both protocols unless `grpc_port` or `grpc_url` names the second, because the
        next port of a mapped one may belong to another server. Raises UsageError without
        credentials in it.
        """
        parts = _read("source.url", url)
        given = _port("source.url", parts)
        usual = given in {None, REST_PORT, GRPC_PORT}
        rest_port = REST_PORT if usual or given is None else given
        grpc = parts if grpc_url is None else _read("source.grpc_url", grpc_url)
        if grpc_url is not None:
            grpc_port = _port("source.grpc_url", grpc) or GRPC_PORT
            if grpc.path.rstrip("/"):
                raise UsageError(
                    f"source.grpc_url has the path '{grpc.path}', and gRPC works below none",
                    remedy="write http://host:port or https://host:port in source.grpc_url",
                )
        return cls(
            host=str(parts.hostname),
            tls=parts.scheme == "https",
            rest_port=rest_port,
            grpc_host=str(grpc.hostname),
            grpc_tls=grpc.scheme == "https",
            grpc_port=grpc_port or (GRPC_PORT if usual else rest_port),
            port_given=given is not None,
            grpc_given=grpc_url is not None,
            path=parts.path.rstrip("/"),
        )

    @property
    def loopback(self) -> bool:
        """Whether the traffic of REST stays on this machine."""
        return is_loopback(self.host)

    @property
    def rest_url(self) -> str:
        """Base url of the REST API, without a slash at the end."""
        return f"{_scheme(tls=self.tls)}://{_netloc(self.host, self.rest_port)}{self.path}"

    @property
    def grpc_target(self) -> str:
        """`host:port` of the gRPC API."""
        return _netloc(self.grpc_host, self.grpc_port)

    @property
    def grpc_url(self) -> str:
        """`grpc_target` with its scheme, for manifests and messages."""
        return f"{_scheme(tls=self.grpc_tls)}://{self.grpc_target}"

    @property
    def urls(self) -> frozenset[str]:
        """Those of both APIs, which serve one collection."""
        return frozenset({self.rest_url, self.grpc_url})

    def port_hint(self, *, grpc: bool) -> str | None:
        """Advice for a port that does not answer; None if a url names the port."""
        if self.port_given or (grpc and self.grpc_given):
            return None
        usual = (
            f"{_scheme(tls=self.tls)}://{_netloc(self.host, 443 if self.tls else 80)}{self.path}"
        )
        return (
            f"source.url names no port, so Qdrant's own are used ({self.rest_port} for REST, "
            f"{self.grpc_port} for gRPC), as by Qdrant's clients; if a proxy serves it at the "
            f"usual port, write {usual}"
        )

    def line(
        self, ca_file: Path | None, client: ClientCertificate | None = None, *, grpc: bool = False
    ) -> Line:
        """The properties that a connection depends on; `ca_file` names further authorities.

        `client` is the certificate that is shown to the server.
        """
        host, tls = (self.grpc_host, self.grpc_tls) if grpc else (self.host, self.tls)
        return Line(host=host, tls=tls, loopback=is_loopback(host), ca_file=ca_file, client=client)

    def check_client(self, client: ClientCertificate | None) -> None:
        """Raise UsageError for a client certificate that a connection would not show."""
        plain = next((url for url, _, tls in self._ends() if not tls), None)
        if client is not None and plain is not None:
            raise UsageError(
                f"tls.client_cert_file is set, and {plain} is not encrypted: no certificate would "
                "be shown",
                remedy="write https:// in the address, or remove tls.client_cert_file and "
                "tls.client_key_file",
            )

    def _ends(self) -> Sequence[tuple[str, str, bool]]:
        """Url, host and TLS of both APIs."""
        return (
            (self.rest_url, self.host, self.tls),
            (self.grpc_url, self.grpc_host, self.grpc_tls),
        )

    def check_key(self, api_key: str | None) -> None:
        """Raise UsageError for a key that is no header value or would be sent in plain text."""
        if api_key is None:
            return
        if not api_key or not (api_key.isascii() and api_key.isprintable()):
            raise UsageError(
                "the source api key is empty or holds characters that no header may hold",
                remedy="check QDRANT_API_KEY for line ends and stray characters",
            )
        for _, host, tls in self._ends():
            if not tls and not is_loopback(host):
                raise UsageError(
                    f"the api key would be sent in plain text to {host}",
                    remedy="use an https:// url, or a tunnel that ends on localhost",
                )


def _scheme(*, tls: bool) -> str:
    return "https" if tls else "http"


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _read(setting: str, url: str) -> SplitResult:
    """The parts of a url with a usable host. Raises UsageError without credentials in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # The parser's message may quote the url, and with it a password.
        raise UsageError(f"{setting} cannot be read", remedy=f"correct {setting}") from None
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{setting} holds a user name or a password",
            remedy="take it out of the url; an api key goes into QDRANT_API_KEY",
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(
            f"{setting} is {url!r}, expected http://host[:port] or https://host[:port]",
            remedy=f"correct {setting}",
        )
    _check_host(setting, parts.hostname)
    return parts


def _check_host(setting: str, host: str) -> None:
    """Raise UsageError for a name that cannot be a host name."""
    literal = ":" in host  # IPv6, which may name a zone behind a %
    try:
        plain = host.isprintable() and not any(c.isspace() or c in "%\\" for c in host)
        if literal or (plain and host.encode("idna") and httpx.URL(f"http://{host}").host):
            return
    except (UnicodeError, httpx.InvalidURL):
        pass
    raise UsageError(
        f"{setting} names the host {host[:HOST_SHOWN_MAX]!a}, which is not a host name",
        remedy=f"correct {setting}",
    )


def _port(setting: str, parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise UsageError(
            f"{setting} names no usable port for host {parts.hostname}",
            remedy=f"use a port from 1 to 65535 in {setting}",
        )
    return port
