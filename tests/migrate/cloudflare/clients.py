"""The real client against a scripted server, with waits that take no time."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.client.wire import HttpLimits
from migrate.ports import Clock, Limiter
from tests.harness.fakes.clock import ImpatientClock, VirtualClock
from tests.servers.scripted_http import Script, ScriptedServer, running_script

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
TOKEN = "cfut_Zm9vYmFyYmF6cXV4"
ATTEMPTS_MAX = 4
FAST = HttpLimits(
    connect_s=0.3,
    read_s=0.3,
    write_s=0.3,
    total_s=0.6,
    upload_bytes_per_s_min=100_000_000,
    attempts_max=ATTEMPTS_MAX,
)
# For bodies of 100 MB, which take their time on a machine that is busy with other tests.
PATIENT = replace(FAST, read_s=20.0, write_s=20.0, total_s=60.0)
TLS_ASSETS = Path(__file__).parents[2] / "assets" / "tls"


class Talker:
    """A `Progress` that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        raise AssertionError

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        assert count == 0  # a client knows of no units; after a long wait it lets a line appear

    def watch(self, limiter: Limiter) -> None:
        raise AssertionError

    def say(self, text: str) -> None:
        self.said.append(text)


def server_context(name: str) -> ssl.SSLContext:
    """TLS as one of the test certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS_ASSETS / f"{name}.pem")
    return context


def connect(
    base_url: str,
    *,
    clock: Clock | None = None,
    jitter: float = 0.5,
    progress: Talker | None = None,
    limits: HttpLimits = FAST,
    requests_max: int = 900,
    allow_other_host: bool = False,
    ca_file: Path | None = None,
) -> CloudflareHttp:
    """A client with a budget of its own in memory."""
    clock = clock or ImpatientClock()
    return CloudflareHttp(
        Account(
            parse_base_url(base_url, allow_other_host=allow_other_host), ACCOUNT_ID, TOKEN, ca_file
        ),
        budget=RequestBudget(None, clock=clock, requests_max=requests_max),
        clock=clock,
        jitter=lambda: jitter,
        progress=progress,
        limits=limits,
    )


@contextmanager
def scripted(
    script: Script,
    *,
    clock: Clock | None = None,
    progress: Talker | None = None,
    limits: HttpLimits = FAST,
    requests_max: int = 900,
) -> Iterator[tuple[ScriptedServer, CloudflareHttp]]:
    """A server that plays the script and a client of it, on virtual time unless said otherwise."""
    with running_script(script) as server:
        http = connect(
            server.base_url,
            clock=clock or VirtualClock(),
            progress=progress,
            limits=limits,
            requests_max=requests_max,
        )
        try:
            yield server, http
        finally:
            http.close()
