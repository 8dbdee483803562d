"""What packing costs a server: its CPU while a collection is read, with and without gzip."""

import os
import statistics
from collections.abc import Iterator
from contextlib import closing

from benchmarks.commands import cpu_ticks, serving_process
from benchmarks.made import Points
from benchmarks.measure import Demand, Line, faster_line
from migrate.clock import SystemClock
from migrate.model.choices import Compression, TransportChoice
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions
from migrate.snapshot.walk import walk_points

COLLECTION = "chunks"
PAGE_POINTS = 250
ROUNDS = 3
SERVERS: dict[TransportChoice, str] = {
    "grpc": "benchmarks.services.served",
    "rest": "benchmarks.services.served_rest",
}


def packing_lines(rows: int, *, rounds: int = ROUNDS) -> Iterator[Line]:
    """The server's CPU for all points: what is asked for by default, against gzip."""
    made = [str(rows), str(Points(1).dimensions), str(Points(1).text_repeated)]
    for transport, module in SERVERS.items():
        with serving_process(module, *made) as (line, pid):
            url = line.strip()
            _read(url, transport, "identity", rows)  # what is made once is made before it counts
            taken: dict[Compression, list[float]] = {"identity": [], "gzip": []}
            for _ in range(rounds):
                for compression, mine in taken.items():
                    before = cpu_ticks(pid)
                    _read(url, transport, compression, rows)
                    mine.append((cpu_ticks(pid) - before) * 1000 / os.sysconf("SC_CLK_TCK"))
        yield faster_line(
            f"CPU of the server, read over {transport}",
            max(statistics.median(taken["identity"]), 1000 / os.sysconf("SC_CLK_TCK")),
            "the same with source.compression = gzip",
            statistics.median(taken["gzip"]),
            Demand(at_least=2),
        )


def _read(url: str, transport: TransportChoice, compression: Compression, rows: int) -> None:
    source = open_server_source(
        url,
        collection=COLLECTION,
        api_key=None,
        transport=transport,
        clock=SystemClock(),
        options=ServerOptions(compression=compression),
    )
    with closing(source):
        assert sum(map(len, walk_points(source, None, None, limit=PAGE_POINTS))) == rows
