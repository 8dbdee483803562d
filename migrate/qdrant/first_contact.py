"""Distinguish a wrong address from a server that is down, before its first valid answer.

A wrong scheme or port does not change by itself, so it raises UsageError after few attempts. A
failure that may also come from a server that is down is retried.
"""

from migrate.errors import AccessError, RemoteUnavailableError, UsageError
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.protocol_probe import (
    AfterHandshake,
    Found,
    Spoken,
    probe_port,
    watch_handshake,
)
from migrate.qdrant.retry import PassingFailure
from migrate.qdrant.source import ServerOptions
from migrate.transport.deadline import find_proxy
from migrate.transport.trust import client_remedy
from migrate.words import counted

PROBE_FROM_FAILURE = 2  # the port is probed after two failures, or after one time-out
PROBES_MAX = 3
SPOKEN = {Spoken.HTTP: "rest", Spoken.HTTP2: "grpc"}  # protocol -> value of source.transport
SILENT_ATTEMPTS_MAX = 3  # a port that never answers uses up the time-out of each attempt


def check_rest_port(address: ServerAddress, options: ServerOptions) -> None:
    """Raises UsageError when the REST port speaks neither HTTP nor TLS, before a request waits.

    A client of HTTP waits for the rest of a banner until its time-out. A port that says nothing
    for some seconds is reported by `options.say`.
    """
    line = address.line(options.ca_file, options.client)
    if find_proxy(line) is not None:
        return
    found = probe_port(line, address.rest_port, Spoken.HTTP)
    if found.spoken is Spoken.SILENCE:
        options.say(
            f"{address.rest_url}: port {address.rest_port} takes connections and has not answered "
            "yet, neither to HTTP nor to TLS; waiting for an answer"
        )
    if found.spoken is Spoken.OTHER:
        what, remedy = describe_other(found)
        raise UsageError(f"{address.rest_url}: {what}", remedy=remedy)


class FirstContact:
    """Examines failures until the server has given its first valid answer."""

    def __init__(
        self, address: ServerAddress, port: int, wanted: Spoken, options: ServerOptions
    ) -> None:
        """`wanted` is HTTP for REST and HTTP2 for gRPC."""
        grpc = wanted is Spoken.HTTP2
        self._line = address.line(options.ca_file, options.client, grpc=grpc)
        self._url = address.grpc_url if grpc else address.rest_url
        self._setting = "source.grpc_url" if grpc and address.grpc_given else "source.url"
        self._port = port
        self._wanted = wanted
        self._hint = address.port_hint(grpc=grpc)
        self._failures = 0
        self._probes = 0
        # Behind a proxy the port cannot be probed directly.
        self._over = find_proxy(self._line) is not None

    def answered(self) -> None:
        """Note a valid answer of a Qdrant server. Later failures are returned unchanged."""
        self._over = True

    def judge(self, failure: Exception) -> Exception:
        """The failure itself, or the error for a wrong address."""
        if not isinstance(failure, PassingFailure):
            self.answered()
            return failure
        if self._over:
            return failure
        if failure.remedy is None:
            failure.remedy = self._hint
        self._failures += 1
        early = self._failures < PROBE_FROM_FAILURE and not failure.timed_out
        if early or self._probes >= PROBES_MAX:
            return failure
        self._probes += 1
        return self._probe(failure)

    def _probe(self, failure: PassingFailure) -> Exception:
        """The failure, or the error for what the port is found to be."""
        if self._line.tls:
            match watch_handshake(self._line, self._port):
                case AfterHandshake.REFUSES:
                    return client_refused(self._url, str(failure))
                case AfterHandshake.ENDS:
                    self._hint = f"if the server wants a client certificate, {client_remedy()}"
                    failure.remedy = self._hint
        found = probe_port(self._line, self._port, self._wanted)
        if found.spoken is Spoken.SILENCE:
            return self._silent(failure)
        wrong = describe_mismatch(found, self._wanted, tls_wanted=self._line.tls)
        if wrong is None:
            return failure
        what, remedy = (text.replace("source.url", self._setting) for text in wrong)
        return UsageError(f"{self._url}: {what}", remedy=remedy)

    def _silent(self, failure: PassingFailure) -> Exception:
        if self._failures < SILENT_ATTEMPTS_MAX:
            return failure
        return RemoteUnavailableError(
            f"{self._url}: port {self._port} takes connections and answers nothing, neither to "
            f"HTTP nor to TLS; given up after {counted(self._failures, 'attempt')} ({failure})",
            remedy=self._hint
            or f"check host and port in {self._setting}; if a Qdrant is starting there, run the "
            "same command again: it resumes",
        )


def client_refused(url: str, said: str) -> AccessError:
    """The error for a server that wants another client certificate, or one at all."""
    return AccessError(
        f"{url}: the server refuses the certificate of this client, or wants one: {said}",
        remedy=client_remedy(),
    )


def describe_other(found: Found) -> tuple[str, str]:
    """The problem and its remedy for a port of another protocol."""
    what = f"this port speaks neither HTTP nor TLS; it answers '{found.words}'"
    return what, "correct host and port in source.url"


def describe_mismatch(found: Found, wanted: Spoken, *, tls_wanted: bool) -> tuple[str, str] | None:
    """The problem and its remedy; None when the port speaks `wanted` or does not answer."""
    answer: tuple[str, str] | None = None
    if found.spoken is Spoken.OTHER:
        answer = describe_other(found)
    elif found.spoken is Spoken.TLS and not tls_wanted:
        answer = (
            "this port speaks TLS, and source.url says http://",
            "write https:// in source.url",
        )
    elif found.spoken in SPOKEN and tls_wanted and not found.tls:
        answer = (
            "this port does not speak TLS, and source.url says https://; it speaks "
            f"{found.spoken} in plain text",
            "name the port that speaks TLS in source.url, or write http:// where the line is "
            "private (an api key is then sent within this machine only)",
        )
    elif found.spoken in SPOKEN and found.spoken is not wanted:
        answer = (
            f"this port speaks {found.spoken}, expected {wanted}",
            "name the port of the other protocol in source.url (6333 for REST, 6334 for gRPC, "
            f'unless they are mapped), or set source.transport = "{SPOKEN[found.spoken]}"',
        )
    return answer
