"""Answer what a Vectorize binding asks by id, from texts that were made before. Costs little.

Reads one JSON object of id -> record from the file that is named; the first line on stdout is the
port.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
from typing_extensions import override


def main() -> None:
    """Serve until the input ends."""
    records = {
        vector_id: orjson.dumps(record)
        for vector_id, record in orjson.loads(Path(sys.argv[1]).read_bytes()).items()
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet for head and body
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            """The records of the ids."""
            body = self.rfile.read(int(self.headers["content-length"]))
            found = b",".join(records[vector_id] for vector_id in orjson.loads(body)["ids"])
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(found) + 2))
            self.end_headers()
            self.wfile.write(b"[%b]" % found)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        @override
        def handle_error(self, request: object, client_address: object) -> None:
            """A runtime that was ended resets its connections."""

    server = Server(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
