"""Sending uploads to a sink that throws them away: ours, http.client, and `files=`."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx

from benchmarks import measure
from benchmarks.commands import serving
from benchmarks.made import DIMENSIONS, REDUCED, TEXT_REPEATED
from benchmarks.measure import Demand, cpu_ms, ratio_line, wall_ms
from benchmarks.services import sink
from benchmarks.steps import Steps
from migrate.clock import SystemClock
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.mapping.upload_body import Line, build_upload, encode_lines

PEER_ROUNDS = 3


class Uploads:
    """One body of all rows, and ways to send it."""

    def __init__(self, base_url: str, steps: Steps) -> None:
        lines = (
            Line(row=row, vector_id=vector_id, text=text)
            for page, ids, matrix in zip(steps.pages, steps.ids, steps.reduced, strict=True)
            for row, (vector_id, text) in enumerate(
                zip(ids, encode_lines(ids, matrix, page.payloads), strict=True)
            )
        )
        built, _ = build_upload(lines, vectors_max=steps.rows // 2, body_bytes_max=100_000_000)
        assert built is not None
        self.vectors, self._pieces = built.upload.vectors, built.body
        self._body = b"".join(built.body)
        self._url = f"{base_url}/accounts/{sink.ACCOUNT}/vectorize/v2/indexes/bench/upsert"
        parts = urlsplit(self._url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._client = httpx.Client(timeout=60)
        account = CloudflareHttp(
            Account(parse_base_url(base_url), sink.ACCOUNT, sink.TOKEN),
            budget=RequestBudget(None, clock=SystemClock(), requests_max=1_200),
            clock=SystemClock(),
            jitter=lambda: 0.5,
        )
        self._target = VectorizeTarget(account, sink.INDEX)

    def ours(self) -> None:
        """Pieces as a worker cuts them, exact length, budget, deadline, judgement of the answer."""
        self._target.upsert(self._pieces)

    def floor(self) -> None:
        """The same bytes, joined beforehand."""
        self._connection.request(
            "POST", self._path, body=self._body, headers={"Content-Type": "application/x-ndjson"}
        )
        self._connection.getresponse().read()

    def by_files(self) -> None:
        """What scripts do."""
        self._client.post(self._url, files={"vectors": ("v.ndjson", self._body)}).read()


@contextmanager
def uploads(steps: Steps) -> Iterator[Uploads]:
    """A sink, and senders to it."""
    made = [str(steps.rows), str(DIMENSIONS), str(TEXT_REPEATED), str(REDUCED)]
    with serving("benchmarks.services.sink", *made) as base_url:
        yield Uploads(base_url.strip(), steps)


def upload_lines(there: Uploads) -> Iterator[measure.Line]:
    """CPU and wall of the sender."""
    ours, floor = cpu_ms(there.ours, there.floor, rounds=9)
    (peer,) = cpu_ms(there.by_files, rounds=PEER_ROUNDS)
    size = f"http.client, {there.vectors:,} vectors"
    yield ratio_line("upload, CPU", ours, size, floor, Demand())
    yield ratio_line("peer: upload by httpx files=, CPU", peer, size, floor, Demand())
    ours, floor = wall_ms(there.ours, there.floor, rounds=9)
    yield ratio_line("upload, wall", ours, size, floor, Demand(at_most=1.2))
