"""Reading a collection over the wire: ours, the bare protocol, and the client's own scroll."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr
from pathlib import Path
from shutil import rmtree
from urllib.parse import urlsplit

import grpc
import numpy as np
import orjson
from qdrant_client import QdrantClient
from qdrant_client import grpc as wire
from qdrant_to_parquet.exporter import export_collection

from benchmarks.commands import serving
from benchmarks.made import FIRST_ID, Points
from benchmarks.measure import ROUNDS, Demand, Line, cpu_ms, faster_line, ratio_line
from benchmarks.steps import Steps
from migrate.clock import SystemClock
from migrate.model.choices import TransportChoice
from migrate.qdrant.grpc.packed import packed_scroll_response
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerSource
from migrate.runtime import NoProgress, Runtime
from migrate.snapshot.counting import ID_PAGE_POINTS
from migrate.snapshot.ranges import SecondReading
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.snapshot.walk import walk_points
from migrate.storage.local_folder import LocalFolder

PAGE_POINTS = 250
# Peers and floors are compared for what they do with an answer, not for what they unpack.
UNPACKED = ("grpc.compression_enabled_algorithms_bitset", 1)
COLLECTION = "chunks"
SNAPSHOT_ROWS = 10_000  # two parts
SNAPSHOT_ROUNDS = 13  # one differs by a seventh from the next on a shared machine
PEER_ROUNDS = 3  # it takes five times as long


class Scrolls:
    """Readers of one served collection of `ROWS` points."""

    def __init__(self, grpc_url: str, rest_url: str, rows: int) -> None:
        self._rows = rows
        self._sources: list[ServerSource] = []
        self._grpc_url, self._rest_url = grpc_url, rest_url
        port = urlsplit(grpc_url).port or 0
        self._address = f"127.0.0.1:{port}"
        self._grpc_client = QdrantClient(
            host="127.0.0.1",
            grpc_port=port,
            prefer_grpc=True,
            check_compatibility=False,
            grpc_options=dict([UNPACKED]),
        )
        self._rest_client = QdrantClient(
            url=rest_url, check_compatibility=False, headers={"Accept-Encoding": "identity"}
        )
        options = [("grpc.max_receive_message_length", 64 * 1024 * 1024), UNPACKED]
        self._channel = grpc.insecure_channel(self._address, options=options)
        self._scroll = self._channel.unary_unary(
            "/qdrant.Points/Scroll", request_serializer=wire.ScrollPoints.SerializeToString
        )

    def close(self) -> None:
        """Close all connections."""
        self._channel.close()
        self._grpc_client.close()
        self._rest_client.close()
        for source in self._sources:
            source.close()

    def source(self, transport: TransportChoice) -> ServerSource:
        """Ours; closed with the others."""
        source = open_server_source(
            self._grpc_url if transport == "grpc" else self._rest_url,
            collection=COLLECTION,
            api_key=None,
            transport=transport,
            clock=SystemClock(),
        )
        self._sources.append(source)
        return source

    def ours(self, transport: TransportChoice) -> Callable[[], object]:
        """All points as pages of float32 and canonical payloads."""
        source = self.source(transport)

        def read() -> None:
            pages = walk_points(source, None, None, limit=PAGE_POINTS)
            assert sum(map(len, pages)) == self._rows

        return read

    def by_client(self, client: QdrantClient) -> None:
        """All points as records of the client, vectors as lists of float."""
        offset, read = None, 0
        while read < self._rows:
            records, offset = client.scroll(
                COLLECTION,
                limit=PAGE_POINTS,
                offset=offset,
                with_payload=True,
                with_vectors=True,
            )
            read += len(records)

    def by_grpc_client(self) -> None:
        """Over gRPC."""
        self.by_client(self._grpc_client)

    def by_rest_client(self) -> None:
        """Over REST."""
        self.by_client(self._rest_client)

    def floor(self) -> None:
        """The stub, values into one float32 page, payloads into JSON; nothing is checked."""
        kind = packed_scroll_response()
        for start in range(0, self._rows, PAGE_POINTS):
            request = wire.ScrollPoints(
                collection_name=COLLECTION,
                limit=PAGE_POINTS,
                offset=wire.PointId(num=FIRST_ID + start),
                with_payload=wire.WithPayloadSelector(enable=True),
                with_vectors=wire.WithVectorsSelector(enable=True),
            )
            answer = kind.FromString(self._scroll(request))
            rows = []
            for point in answer.result:
                rows.append(point.vectors.vector.dense.data[0])
                fields = {
                    key: value.string_value or value.integer_value
                    for key, value in point.payload.items()
                }
                orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
            np.frombuffer(b"".join(rows), np.float32).reshape(len(rows), -1)

    def floor_of_ids(self) -> None:
        """The stub, ids as numbers."""
        for start in range(0, self._rows, ID_PAGE_POINTS):
            request = wire.ScrollPoints(
                collection_name=COLLECTION,
                limit=ID_PAGE_POINTS,
                offset=wire.PointId(num=FIRST_ID + start),
                with_payload=wire.WithPayloadSelector(enable=False),
                with_vectors=wire.WithVectorsSelector(enable=False),
            )
            answer = wire.ScrollResponse.FromString(self._scroll(request))
            [point.id.num for point in answer.result]

    def export(self, folder: Path) -> None:
        """The peer tool."""
        client = self._grpc_client
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            export_collection(
                client, COLLECTION, folder / "peer.parquet", progress=False, restart=True
            )


@contextmanager
def scrolls(rows: int) -> Iterator[Scrolls]:
    """Readers of a collection that is served over both protocols."""
    made = [str(rows), str(Points(1).dimensions), str(Points(1).text_repeated)]
    with (
        serving("benchmarks.services.served", *made) as grpc_url,
        serving("benchmarks.services.served_rest", *made) as rest_url,
    ):
        there = Scrolls(grpc_url.strip(), rest_url.strip(), rows)
        with closing(there):
            yield there


def scroll_lines(there: Scrolls, *, rounds: int = ROUNDS) -> Iterator[Line]:
    """CPU of this process for all points; the servers are other processes."""
    grpc_, floor, client, rest, rest_client = cpu_ms(
        there.ours("grpc"),
        there.floor,
        there.by_grpc_client,
        there.ours("rest"),
        there.by_rest_client,
        rounds=rounds,
    )
    yield ratio_line("scroll over gRPC", grpc_, "stub, float32 page, JSON", floor, Demand())
    yield faster_line(
        "scroll over gRPC, against the client's gRPC", grpc_, "QdrantClient.scroll, gRPC", client,
        Demand(at_least=5),
    )  # fmt: skip
    yield faster_line(
        "scroll over gRPC, against the client's REST", grpc_, "QdrantClient.scroll, REST",
        rest_client, Demand(at_least=6),
    )  # fmt: skip
    yield faster_line(
        "scroll over REST, against the client's REST", rest, "QdrantClient.scroll, REST",
        rest_client, Demand(),
    )  # fmt: skip


def snapshot_lines(
    there: Scrolls, steps: Steps, folder: Path, *, rounds: int = SNAPSHOT_ROUNDS
) -> Iterator[Line]:
    """The whole stage against the sum of its floors, by CPU; and the peer that does less."""
    source = there.source("grpc")

    def take(second_reading: SecondReading) -> Callable[[], object]:
        place = folder / second_reading
        options = SnapshotOptions(second_reading=second_reading)

        def call() -> None:
            # The floor and the peer write over their former file, so its memory is used again.
            rmtree(place, ignore_errors=True)
            take_snapshot(
                source,
                LocalFolder(place),
                options,
                Runtime(clock=SystemClock(), progress=NoProgress()),
            )

        return call

    def floor(second_reading: SecondReading) -> Callable[[], object]:
        def call() -> None:
            there.floor()
            steps.digest_floor()
            steps.write_to(folder / "floor")
            if second_reading == "ids":
                there.floor_of_ids()
            else:
                there.floor()
                steps.digest_floor()

        return call

    once, once_floor, twice, twice_floor = cpu_ms(
        take("ids"), floor("ids"), take("digest"), floor("digest"), rounds=rounds, own_memory=True
    )
    (peer,) = cpu_ms(lambda: there.export(folder), rounds=min(rounds, PEER_ROUNDS))
    floors = "scroll + sha256 + Parquet + fsync"
    yield ratio_line(
        "snapshot over gRPC, second reading of ids", once, f"{floors}, ids again", once_floor,
        Demand(at_most=1.3),
    )  # fmt: skip
    yield ratio_line(
        "snapshot over gRPC, everything read twice", twice, f"{floors}, read twice", twice_floor,
        Demand(at_most=1.3),
    )  # fmt: skip
    yield faster_line(
        "snapshot, against qdrant-to-parquet", once, "qdrant-to-parquet, one worker", peer,
        Demand(),
    )  # fmt: skip
