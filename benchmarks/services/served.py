"""Serve a Qdrant collection that exists nowhere, over gRPC, faster than it can be read."""

import mmap
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import grpc
from qdrant_client import grpc as wire

from benchmarks.made import FIRST_ID, Points
from benchmarks.services.changing import change_when_told

ANSWER_BYTES_MAX = 64 * 1024 * 1024
COUNT_BYTES = 8


class _Served:
    """The methods that a reader calls."""

    def __init__(self, points: Points, count_sent: Callable[[int], None]) -> None:
        """`count_sent` is given the points of each answer that has vectors."""
        self.points = points
        self._count_sent = count_sent

    def scroll(self, request: Any, _context: Any) -> bytes:
        start = 0
        if request.HasField("offset"):
            uuid = request.offset.WhichOneof("point_id_options") == "uuid"
            start = self.points.size if uuid else max(0, request.offset.num - FIRST_ID)
        whole = request.with_vectors.enable
        if whole:
            self._count_sent(max(0, min(request.limit, self.points.size - start)))
        return self.points.scroll(start, request.limit, whole=whole)

    def count(self, _request: Any, _context: Any) -> bytes:
        result = wire.CountResult(count=self.points.size)
        return bytes(wire.CountResponse(result=result).SerializeToString())

    def describe(self, _request: Any, _context: Any) -> bytes:
        info = wire.CollectionInfo(
            status=wire.CollectionStatus.Green,
            optimizer_status=wire.OptimizerStatus(ok=True),
            points_count=self.points.size,
        )
        hnsw, optimizer = info.config.hnsw_config, info.config.optimizer_config
        hnsw.m, hnsw.ef_construct, hnsw.full_scan_threshold = 16, 100, 10_000
        optimizer.deleted_threshold, optimizer.vacuum_min_vector_number = 0.2, 1_000
        optimizer.default_segment_number = optimizer.flush_interval_sec = 1
        info.config.wal_config.wal_capacity_mb = 32
        info.config.wal_config.wal_segments_ahead = 0
        params = info.config.params
        params.shard_number = 1
        params.vectors_config.params.size = self.points.dimensions
        params.vectors_config.params.distance = wire.Distance.Cosine
        return bytes(wire.GetCollectionInfoResponse(result=info).SerializeToString())

    def cluster(self, _request: Any, _context: Any) -> bytes:
        return b""

    def health(self, _request: Any, _context: Any) -> bytes:
        reply = wire.HealthCheckReply(title="made points", version="1.19.0")
        return bytes(reply.SerializeToString())


def _uncounted(_points: int) -> None:
    """For a server whose answers no one counts."""


def start_server(served: _Served) -> tuple[grpc.Server, int]:
    """A started server on a free port of this machine, and the port."""
    services: dict[str, dict[str, tuple[Any, Any]]] = {
        "qdrant.Points": {
            "Scroll": (served.scroll, wire.ScrollPoints),
            "Count": (served.count, wire.CountPoints),
        },
        "qdrant.Collections": {
            "Get": (served.describe, wire.GetCollectionInfoRequest),
            "CollectionClusterInfo": (served.cluster, wire.CollectionClusterInfoRequest),
        },
        "qdrant.Qdrant": {"HealthCheck": (served.health, wire.HealthCheckRequest)},
    }
    options = [
        ("grpc.so_reuseport", 0),
        ("grpc.max_send_message_length", ANSWER_BYTES_MAX),
        ("grpc.default_compression_level", 2),  # for clients that offer gzip, as a real server
    ]
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=options)
    for service, methods in services.items():
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                method, request_deserializer=request.FromString
            )
            for name, (method, request) in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def counting_in(file: Path) -> Callable[[int], None]:
    """Add numbers up in the file, for `points_sent` of another process."""
    file.write_bytes(bytes(COUNT_BYTES))
    with file.open("r+b") as opened:
        count = mmap.mmap(opened.fileno(), COUNT_BYTES)
    lock = Lock()

    def add(points: int) -> None:
        with lock:
            count[:] = (int.from_bytes(count[:]) + points).to_bytes(COUNT_BYTES)

    return add


def points_sent(file: Path) -> int:
    """Points with vectors that the server of this file has sent since it started."""
    return int.from_bytes(file.read_bytes())


def main() -> None:
    """Serve until the input ends; the first line on stdout is the address."""
    size, dimensions, text_repeated = map(int, sys.argv[1:4])
    count_sent = counting_in(Path(sys.argv[4])) if sys.argv[4:] else _uncounted
    served = _Served(Points(size, dimensions, text_repeated), count_sent)
    server, port = start_server(served)
    change_when_told(served)
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(grace=None).wait()


if __name__ == "__main__":
    main()
