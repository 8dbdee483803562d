"""The address of a Qdrant server: host, both ports, and whether an API key may be sent to it."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from migrate.errors import UsageError
from migrate.transport.deadline import Line

HOST_SHOWN_MAX = 100
REST_PORT = 6333
GRPC_PORT = 6334


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """The parts of a server's url."""

    host: str  # as given, lower case, IPv6 without brackets
    tls: bool
    rest_port: int
    grpc_port: int
    port_given: bool  # whether the url names a port
    path: str  # "" or "/prefix" of a reverse proxy; only REST works below one

    @classmethod
    def parse(cls, url: str, *, grpc_port: int | None = None) -> "ServerAddress":
        """Read `http(s)://host[:port][/prefix]`.

        Without a port, or with one of Qdrant's own two, both ports are Qdrant's. Any other port
        is used for both protocols unless `grpc_port` names the second, because the next port of a
        mapped one may belong to another server. Raises UsageError without credentials in it.
        """
        parts = _split(url)
        if parts.username is not None or parts.password is not None:
            raise UsageError(
                "the source url holds a user name or a password",
                remedy="take it out of the url; an api key goes into QDRANT_API_KEY",
            )
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(
                f"the source url is {url!r}, expected http://host[:port] or https://host[:port]",
                remedy="correct source.url",
            )
        _check_host(parts.hostname)
        given = _port(parts)
        usual = given in {None, REST_PORT, GRPC_PORT}
        rest_port = REST_PORT if usual or given is None else given
        return cls(
            host=parts.hostname,
            tls=parts.scheme == "https",
            rest_port=rest_port,
            grpc_port=grpc_port or (GRPC_PORT if usual else rest_port),
            port_given=given is not None,
            path=parts.path.rstrip("/"),
        )

    @property
    def loopback(self) -> bool:
        """Whether the traffic stays on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def rest_url(self) -> str:
        """Base url of the REST API, without a slash at the end."""
        return f"{self._scheme}://{self._netloc(self.rest_port)}{self.path}"

    @property
    def grpc_target(self) -> str:
        """`host:port` of the gRPC API."""
        return self._netloc(self.grpc_port)

    @property
    def grpc_url(self) -> str:
        """`grpc_target` with its scheme, for manifests and messages."""
        return f"{self._scheme}://{self.grpc_target}"

    @property
    def port_hint(self) -> str | None:
        """Advice for a port that does not answer; None if the url names the port."""
        if self.port_given:
            return None
        usual = f"{self._scheme}://{self._host}:{443 if self.tls else 80}{self.path}"
        return (
            f"source.url names no port, so Qdrant's own are used ({self.rest_port} for REST, "
            f"{self.grpc_port} for gRPC), as by Qdrant's clients; if a proxy serves it at the "
            f"usual port, write {usual}"
        )

    def line(self, ca_file: Path | None) -> Line:
        """The properties that a connection depends on; `ca_file` names further authorities."""
        return Line(host=self.host, tls=self.tls, loopback=self.loopback, ca_file=ca_file)

    @property
    def _scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def _netloc(self, port: int) -> str:
        return f"{self._host}:{port}"

    def check_key(self, api_key: str | None) -> None:
        """Raise UsageError for a key that is no header value or would be sent in plain text."""
        if api_key is None:
            return
        if not api_key or not (api_key.isascii() and api_key.isprintable()):
            raise UsageError(
                "the source api key is empty or holds characters that no header may hold",
                remedy="check QDRANT_API_KEY for line ends and stray characters",
            )
        if not self.tls and not self.loopback:
            raise UsageError(
                f"the api key would be sent in plain text to {self.host}",
                remedy="use an https:// url, or a tunnel that ends on localhost",
            )


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        # The parser's message may quote the url, and with it a password.
        raise UsageError("the source url cannot be read", remedy="correct source.url") from None


def _check_host(host: str) -> None:
    """Raise UsageError for a name that cannot be a host name."""
    literal = ":" in host  # IPv6, which may name a zone behind a %
    try:
        plain = host.isprintable() and not any(c.isspace() or c in "%\\" for c in host)
        if literal or (plain and host.encode("idna") and httpx.URL(f"http://{host}").host):
            return
    except (UnicodeError, httpx.InvalidURL):
        pass
    raise UsageError(
        f"the source url names the host {host[:HOST_SHOWN_MAX]!a}, which is not a host name",
        remedy="correct source.url",
    )


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise UsageError(
            f"the source url names no usable port for host {parts.hostname}",
            remedy="use a port from 1 to 65535 in source.url",
        )
    return port
