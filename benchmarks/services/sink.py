"""A target that throws every upload away as fast as a socket gives it, and lies about it.

What it is asked to give back it makes (`made`), so that `q2v migrate` runs to its end. It
shows how fast a sender is; whether what was sent is right, the sandbox and its tests show.
"""

import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from benchmarks.made import Points
from benchmarks.services.changing import change_when_told

BUFFER_BYTES = 1024 * 1024
HEAD_BYTES_MAX = 64 * 1024
LISTED_MAX = 1_000  # ids in one page
ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "sink-token-0123456789-0123456789-0123456789"  # noqa: S105 - of nothing
INDEX = "bench"
NAMESPACE = "fedcba9876543210fedcba9876543210"


def credentials(base_url: str) -> dict[str, str]:
    """What a client has to be told."""
    return {"account_id": ACCOUNT, "api_token": TOKEN, "base_url": base_url}


class Sink:
    """Counts what came in; safe for several connections."""

    def __init__(self, points: Points, reduced: int) -> None:
        self.points = points
        self._reduced = reduced
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.body_bytes: Counter[str] = Counter()

    def serve(self, listener: socket.socket) -> None:
        """Accept connections for ever, a thread each."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        buffer = bytearray(BUFFER_BYTES)
        with connection:
            while (head := _read_head(connection)) is not None:
                line, headers, rest = head
                method, target, _ = line.split(" ")
                split = urlsplit(target)
                path, query = split.path.rpartition("/")[2], parse_qs(split.query)
                left = int(headers.get("content-length", "0")) - len(rest)
                kept = rest
                with self._lock:
                    self.requests[path] += 1
                    self.body_bytes[path] += left + len(rest)
                while left > 0:
                    got = connection.recv_into(buffer, min(left, BUFFER_BYTES))
                    if not got:
                        return
                    left -= got
                    if path != "upsert":
                        kept += buffer[:got]
                answer = self._answer(method, path, query, kept)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(answer) + answer
                )

    def _answer(self, method: str, path: str, query: Mapping[str, list[str]], body: bytes) -> bytes:
        match path:
            case "counts":
                with self._lock:
                    result: object = {"requests": self.requests, "body_bytes": self.body_bytes}
            case "get_by_ids":
                # Before the first upload it holds nothing, as its listing says.
                ids = json.loads(body)["ids"] if self.requests["upsert"] else []
                records = [self.points.stored(one, self._reduced) for one in ids]
                joined = b",".join(records)
                return b'{"success":true,"errors":[],"messages":[],"result":[%b]}' % joined
            case "list" if method == "GET":
                result = self._listed(query)
            case "keys":
                empty = {"count": 0, "cursor": ""}
                return _envelope([], result_info=empty)
            case "bulk":
                keys = len(json.loads(body))
                result = {"successful_key_count": keys, "unsuccessful_keys": []}
            case "get":  # values of keys: it has kept none
                result = {"values": dict.fromkeys(json.loads(body)["keys"])}
            case "upsert":
                result = {"mutationId": "01234567-89ab-cdef-0123-456789abcdef"}
            case _:
                result = self._describe(path)
        return _envelope(result)

    def _listed(self, query: Mapping[str, list[str]]) -> dict[str, object]:
        """The ids after the first upload, a page at a time; and the metadata indexes."""
        size = self.points.size if self.requests["upsert"] else 0
        start = int(query.get("cursor", ["0"])[0])
        end = min(size, start + LISTED_MAX)
        return {
            "count": end - start, "totalCount": size, "isTruncated": end < size,
            "nextCursor": str(end) if end < size else None, "cursorExpirationTimestamp": None,
            "vectors": [{"id": self.points.vector_id(number)} for number in range(start, end)],
            "metadataIndexes": [{"propertyName": "file_id", "indexType": "String"}],
        }  # fmt: skip

    def _describe(self, path: str) -> dict[str, object]:
        """The namespace, or the index."""
        if path == NAMESPACE:
            return {"id": NAMESPACE, "title": "bench", "supports_url_encoding": True}
        if path == "info":
            return {"vectorCount": 0, "dimensions": self._reduced}
        return {
            "name": INDEX, "description": "", "created_on": "2026-11-01T00:00:00Z",
            "modified_on": "2026-11-01T00:00:00Z",
            "config": {"dimensions": self._reduced, "metric": "cosine"},
        }  # fmt: skip


def _envelope(result: object, **more: object) -> bytes:
    document = {"success": True, "errors": [], "messages": [], "result": result, **more}
    return json.dumps(document).encode()


def _read_head(connection: socket.socket) -> tuple[str, dict[str, str], bytes] | None:
    """Request line, headers in lower case, and what came behind them; None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(HEAD_BYTES_MAX)
        if not piece:
            return None
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    pairs = (field.partition(":") for field in fields)
    return line, {name.lower(): value.strip() for name, _, value in pairs}, rest


def main() -> None:
    """Serve until the input ends; the first line on stdout is the address."""
    size, dimensions, text_repeated, reduced = map(int, sys.argv[1:])
    sink = Sink(Points(size, dimensions, text_repeated), reduced)
    change_when_told(sink)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=sink.serve, args=(listener,), daemon=True).start()
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}/client/v4\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
