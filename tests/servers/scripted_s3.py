"""A few operations of S3 over the scripted server, so that a test can spoil any exchange.

For what moto's server cannot do: lose an answer, refuse two writers at once, cut a connection.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.servers.scripted_http import CutAfterRequest, CutBeforeBody, Reply, Seen, Step

# What happens to one exchange: a step in place of the answer, before or after its effect.
REFUSED = Reply(status=503, body=b"<Error><Code>SlowDown</Code></Error>")
CONFLICT = Reply(status=409, body=b"<Error><Code>ConditionalRequestConflict</Code></Error>")


@dataclass
class ScriptedS3:
    """One bucket; `spoil` gives for each request, counted from 0, what happens instead."""

    spoil: Callable[[int, Seen], Step | None] = lambda number, seen: None
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, seen: Seen) -> Step:
        number = len(self.requests)
        self.requests.append((seen.method, seen.target))
        spoiled = self.spoil(number, seen)
        if isinstance(spoiled, CutBeforeBody | Reply):
            return spoiled  # the store has done nothing
        answer = self._answer(seen)
        return answer if spoiled is None else spoiled  # done, and the answer is lost

    def _answer(self, seen: Seen) -> Reply:
        parts = urlsplit(seen.target)
        key = unquote(parts.path).split("/", 2)[2] if parts.path.count("/") > 1 else ""
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match seen.method:
            case "GET" if "list-type" in query:
                return self._list(query.get("prefix", ""), query.get("delimiter"))
            case "PUT":
                if seen.headers.get("if-none-match") == "*" and key in self.objects:
                    return Reply(status=412)
                self.objects[key] = seen.body
                return Reply(headers={"ETag": _etag(seen.body)})
            case "GET" | "HEAD" if key in self.objects:
                content = self.objects[key]
                headers = {
                    "ETag": _etag(content),
                    "Last-Modified": "Tue, 01 Dec 2026 00:00:00 GMT",
                    "Content-Length": str(len(content)),
                }
                if seen.method == "HEAD":
                    return Reply(headers=headers, content_length=len(content))
                return Reply(headers=headers, body=content)
        return Reply(status=404, body=b"<Error><Code>NoSuchKey</Code></Error>")

    def _list(self, prefix: str, delimiter: str | None) -> Reply:
        found, folders = [], set()
        for key in sorted(self.objects):
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                found.append(key)
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-12-01T00:00:00Z</LastModified>"
            f"<Size>{len(self.objects[key])}</Size></Contents>"
            for key in found
        )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>"
            for one in sorted(folders)
        )
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}{common}"
        return Reply(body=f"{body}</ListBucketResult>".encode())


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


LOST = CutAfterRequest()  # done, and the answer is lost
CUT = CutBeforeBody()  # not done
