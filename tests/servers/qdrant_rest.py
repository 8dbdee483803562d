"""A small server that speaks Qdrant's REST protocol over one `StoredCollection`, with faults.

    with rest_server(collection, version="1.13.2", api_key="k") as server:
        server.faults.append(Answer(429, headers={"Retry-After": "7"}))
        ... read from server.url ...
    assert collection.writes == []

Faults are taken one per request, in order; a `times` above 1 repeats one. Like a real server it
packs its answers when the client offers gzip; a fault's answer goes out as it is.
"""

import gzip
import json
import re
import ssl
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast
from urllib.parse import unquote

import numpy as np
import orjson
from typing_extensions import override

from migrate.model.records import PointId
from tests.servers.qdrant_points import (
    AnyVector,
    NoShardKeyError,
    SparseValues,
    StoredCollection,
    StoredPoint,
)
from tests.servers.qdrant_writes import WRITES, WriteRefusedError

BROKEN = -1  # in place of a status: the page fails as the server was told


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Applied to requests whose path matches `path`, `times` times."""

    path: str = "/points"
    times: int = 1


@dataclass(frozen=True)
class Answer(Fault):
    """Answer with this status and body instead of the real one."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"status":{"error":"injected"},"time":0.0}'


@dataclass(frozen=True)
class Bend(Fault):
    """Change the real body before it is sent, with a length that fits."""

    change: Callable[[bytes], bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut(Fault):
    """Announce the whole body, send only its first `bytes_sent` bytes, then close."""

    bytes_sent: int


@dataclass(frozen=True)
class Hang(Fault):
    """Read the request and never answer; the server's end releases it."""


@dataclass(frozen=True)
class Trickle(Fault):
    """Send the body byte by byte, `every_s` seconds apart."""

    every_s: float


@dataclass(frozen=True)
class Endless(Fault):
    """Send a body that never ends, as fast as it is taken."""


class RestServer(ThreadingHTTPServer):
    """The running server; made by `rest_server`."""

    daemon_threads = True
    block_on_close = True

    def __init__(self, collection: StoredCollection, version: str, api_key: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.collection = collection
        self.version = version
        self.api_key = api_key
        self.scheme = "http"
        self.faults: deque[Fault] = deque()
        self.page_failure: Fault = Answer(500)  # of a page that `collection.breaks`
        self.headers: list[Mapping[str, str]] = []  # of every request, keys in lower case
        self.ending = threading.Event()
        self._lock = threading.Lock()
        self._left: dict[int, int] = {}

    @property
    def port(self) -> int:
        """The ephemeral port."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Base url, as `source.url` takes it."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def take_fault(self, path: str) -> Fault | None:
        """The next fault for this path, counted down."""
        with self._lock:
            if not self.faults or not re.search(self.faults[0].path, path):
                return None
            fault = self.faults[0]
            left = self._left.get(id(fault), fault.times) - 1
            self._left[id(fault)] = left
            if left <= 0:
                self.faults.popleft()
            return fault

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about; anything else is a bug here."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class _RefusedError(Exception):
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


class _BrokenPageError(Exception):
    def __init__(self, body: bytes) -> None:
        super().__init__("this page fails")
        self.body = body  # what would have been sent


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body go out separately; do not wait between
    server: RestServer

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - the same

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.collection.requests.append(f"{self.command} {self.path}")
        self.server.headers.append({key.lower(): value for key, value in self.headers.items()})
        fault = self.server.take_fault(self.path)
        if isinstance(fault, Answer):
            self._send(fault.status, fault.body, fault.headers)
            return
        status, body = self._respond(content)
        if fault is None and status == BROKEN:
            fault, status = self.server.page_failure, 200
        if isinstance(fault, Answer):
            self._send(fault.status, fault.body, fault.headers)
            return
        self._send_with(fault, status, body)

    def _send_with(self, fault: Fault | None, status: int, body: bytes) -> None:
        match fault:
            case Hang():
                self.server.ending.wait(timeout=600)
                self.close_connection = True
            case Bend():
                self._send(status, fault.change(body), fault.headers)
            case Cut():
                self._start(status, {"Content-Length": str(len(body))})
                self.wfile.write(body[: fault.bytes_sent])
                self.close_connection = True
            case Trickle():
                self._start(status, {"Content-Length": str(len(body))})
                self._drip(body, fault.every_s)
            case Endless():
                self._start(status, {"Connection": "close"})
                self._flood()
            case _ if "gzip" in self.headers.get("Accept-Encoding", ""):
                packed = gzip.compress(body, compresslevel=1)
                self._send(status, packed, {"Content-Encoding": "gzip"})
            case _:
                self._send(status, body, {})

    def _drip(self, body: bytes, every_s: float) -> None:
        for position in range(len(body)):
            self.wfile.write(body[position : position + 1])
            if self.server.ending.wait(timeout=every_s):
                return

    def _flood(self) -> None:
        self.close_connection = True
        while not self.server.ending.is_set():
            self.wfile.write(b" " * 65536)

    def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        if "Date" not in headers:
            self.send_header("Date", self.date_time_string())
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._start(status, {"Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def _respond(self, content: bytes) -> tuple[int, bytes]:
        try:
            return 200, self._route(content)
        except _BrokenPageError as broken:
            return BROKEN, broken.body
        except _RefusedError as refused:
            return refused.status, _pack({"status": {"error": str(refused)}, "time": 0.0})

    def _route(self, content: bytes) -> bytes:
        path = self.path.partition("?")[0]
        if (self.command, path) == ("GET", "/"):
            version = self.server.version
            return _pack({"title": "qdrant - vector search engine", "version": version})
        if self.server.api_key not in {None, self.headers.get("api-key")}:
            raise _RefusedError(401, "Must provide an API key or an Authorization bearer token")
        collection = self.server.collection
        if (self.command, path) == ("GET", "/collections"):
            return _envelope({"collections": [{"name": name} for name in collection.names]})
        name, _, rest = path.removeprefix("/collections/").partition("/")
        name = unquote(name)
        serve = _ROUTES.get((self.command, rest))
        if collection.is_writable and (self.command, rest) in WRITES:
            serve = self._take_write
        if serve is None or not path.startswith("/collections/"):
            collection.writes.append(f"{self.command} {self.path}")
            raise _RefusedError(403, "this server is for reading")
        if name not in collection.served_names(self.command) and rest != "exists":
            raise _RefusedError(404, f"Not found: Collection `{name}` doesn't exist!")
        request = json.loads(content) if content else {}
        try:
            return serve(collection, {"name": name, **request})
        except NoShardKeyError as error:
            raise _RefusedError(400, f"Bad request: {error}") from error

    def _take_write(self, collection: StoredCollection, request: Mapping[str, object]) -> bytes:
        path = self.path.partition("?")[0]
        rest = path.removeprefix("/collections/").partition("/")[2]
        collection.writes.append(f"{self.command} {self.path}")
        try:
            return _envelope(WRITES[self.command, rest](collection, request))
        except WriteRefusedError as refused:
            raise _RefusedError(refused.status, str(refused)) from refused


def _describe(collection: StoredCollection, _request: Mapping[str, object]) -> bytes:
    return _envelope(collection.describe())


def _exists(collection: StoredCollection, request: Mapping[str, object]) -> bytes:
    return _envelope({"exists": request["name"] in collection.names})


def _cluster(collection: StoredCollection, _request: Mapping[str, object]) -> bytes:
    if collection.cluster is None:
        raise _RefusedError(403, "Forbidden: Global access is required")
    return _envelope(collection.cluster)


def _count(collection: StoredCollection, request: Mapping[str, object]) -> bytes:
    wanted = _filter(collection, request)
    return _envelope({"count": collection.count(wanted, _shard_keys(request))})


def _shard_keys(request: Mapping[str, object]) -> list[int | str] | None:
    """A request names one key, or a list of them; None: it names none."""
    named = request.get("shard_key")
    if named is None:
        return None
    return cast(list[int | str], named if isinstance(named, list) else [named])


def _filter(
    collection: StoredCollection, request: Mapping[str, object]
) -> Mapping[str, object] | None:
    wanted = request.get("filter")
    if wanted is not None and collection.filter_refusal is not None:
        raise _RefusedError(400, f"Bad request: {collection.filter_refusal}")
    return cast(Mapping[str, object] | None, wanted)


def _scroll(collection: StoredCollection, request: Mapping[str, object]) -> bytes:
    if collection.is_away():
        collection.refused += 1
        raise _BrokenPageError(b"")
    limit = cast(int, request.get("limit", 10))
    if limit < 1:
        raise _RefusedError(422, "Validation error in JSON body: [limit: value 0 invalid]")
    complaint = collection.refuses(limit)
    if complaint is not None:
        raise _RefusedError(400, f"Bad request: {complaint}")
    offset = request.get("offset")
    start = PointId.parse(offset) if offset is not None else None
    wanted = _filter(collection, request)
    keys = _shard_keys(request)
    page, cursor, looked_at = collection.scroll_looking_on(start, limit, wanted, keys)
    whole = bool(request.get("with_payload", True)), bool(request.get("with_vector", False))
    body = _envelope(
        {
            "points": [_record(collection, point, *whole) for point in page],
            "next_page_offset": cursor.wire if cursor is not None else None,
        }
    )
    if any(whole) and collection.breaks(looked_at):
        raise _BrokenPageError(body)
    return body


def _retrieve(collection: StoredCollection, request: Mapping[str, object]) -> bytes:
    if collection.is_away():
        collection.refused += 1
        raise _BrokenPageError(b"")
    ids = [PointId.parse(raw) for raw in cast(list[object], request["ids"])]
    found = collection.retrieve(ids, _shard_keys(request))
    whole = bool(request.get("with_payload", True)), bool(request.get("with_vector", False))
    body = _envelope([_record(collection, point, *whole) for point in found])
    if collection.breaks(found):
        raise _BrokenPageError(body)
    return body


_ROUTES: dict[tuple[str, str], Callable[[StoredCollection, Mapping[str, object]], bytes]] = {
    ("GET", ""): _describe,
    ("GET", "exists"): _exists,
    ("GET", "cluster"): _cluster,
    ("POST", "points"): _retrieve,
    ("POST", "points/count"): _count,
    ("POST", "points/scroll"): _scroll,
}


def _record(
    collection: StoredCollection, point: StoredPoint, with_payload: bool, with_vector: bool
) -> dict[str, object]:
    record: dict[str, object] = {"id": point.key.wire}
    if point.shard_key is not None:
        record["shard_key"] = point.shard_key
    if with_payload:
        # The standard library keeps what orjson refuses: lone surrogates, huge integers.
        text = point.payload_text
        record["payload"] = orjson.Fragment(text or json.dumps(point.payload or {}))
    if with_vector:
        unnamed = "size" in collection.vectors and not collection.sparse_vectors
        named = {name: encode_vector(vector) for name, vector in point.vectors.items()}
        record["vector"] = named[""] if unnamed and "" in named else named
    return record


def encode_vector(vector: AnyVector) -> object:
    """A vector as REST has it: shortest float32 text, null for what is not finite."""
    if isinstance(vector, SparseValues):
        values = np.array(vector.values, dtype=np.float32)
        return {"indices": list(vector.indices), "values": values}
    if len(vector) and isinstance(vector[0], Sequence | np.ndarray):
        return [np.array(row, dtype=np.float32) for row in vector]
    return np.array(vector, dtype=np.float32)


def _envelope(result: object) -> bytes:
    return _pack({"result": result, "status": "ok", "time": 0.001})


def _pack(answer: object) -> bytes:
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


@contextmanager
def rest_server(
    collection: StoredCollection,
    *,
    version: str = "1.19.0",
    api_key: str | None = None,
    certificate: Path | None = None,
    client_authority: Path | None = None,
) -> Iterator[RestServer]:
    """Serve `collection` on an ephemeral port of 127.0.0.1 until the block ends.

    With `certificate` (a PEM file holding key and chain) over TLS; with `client_authority` only for
    clients that show a certificate of this authority.
    """
    server = RestServer(collection, version, api_key)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        if client_authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_authority)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        thread.join()
        server.socket.close()
