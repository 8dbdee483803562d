"""Serve the made points over REST: only what a scroll asks for, each answer encoded once."""

import gzip
import json
import sys
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
from typing_extensions import override

from benchmarks.made import FIRST_ID, POOL, Points

ANSWERS_MAX = 64  # 10 MB each


def main() -> None:
    """Serve until the input ends; the first line on stdout is the address."""
    size, dimensions, text_repeated = map(int, sys.argv[1:])
    points = Points(size, dimensions, text_repeated)

    @lru_cache(ANSWERS_MAX)
    def scroll(start: int, limit: int, whole: bool) -> bytes:
        end = min(size, start + limit)
        records: list[dict[str, object]] = [
            {
                "id": FIRST_ID + number,
                "payload": points.payload(number),
                "vector": points.pool[number % POOL],
            }
            if whole
            else {"id": FIRST_ID + number}
            for number in range(start, end)
        ]
        cursor = FIRST_ID + end if end < size else None
        return _answer({"points": records, "next_page_offset": cursor})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/":
                self._send(orjson.dumps({"title": "made points", "version": "1.19.0"}))
                return
            vectors = {"size": dimensions, "distance": "Cosine"}
            params = {"vectors": vectors, "shard_number": 1}
            status = {"status": "green", "optimizer_status": "ok", "points_count": size}
            self._send(_answer({**status, "config": {"params": params}, "shard_transfers": []}))

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("/count"):
                self._send(_answer({"count": size}))
                return
            offset = request.get("offset")
            start = offset - FIRST_ID if isinstance(offset, int) else 0 if offset is None else size
            whole = bool(request.get("with_vector") or request.get("with_vectors"))
            self._send(scroll(max(0, start), request["limit"], whole))

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            encoding, body = _packed(body, self.headers.get("Accept-Encoding", ""))
            self.send_header("Content-Encoding", encoding)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
        sys.stdout.flush()
        server.daemon_threads = True
        server.serve_forever()


def _packed(body: bytes, offered: str) -> tuple[str, bytes]:
    """Like a real server: packed for every client that offers gzip."""
    if "gzip" not in offered:
        return "identity", body
    return "gzip", gzip.compress(body, compresslevel=1)


def _answer(result: object) -> bytes:
    document = {"result": result, "status": "ok", "time": 0.0}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


if __name__ == "__main__":
    main()
