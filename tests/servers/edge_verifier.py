"""A verifier in Python that can lie, with the right key: what q2v believes, and what it does not.

It is told what the index holds, and reads nothing.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from migrate.cloudflare.verifier.protocol import (
    PREFIX_BYTES,
    answer_text,
    question_path,
    request_text,
)
from migrate.model.hmac_key import SealKey
from tests.servers.scripted_http import Reply, Seen, Step, running_script

Asked = list[tuple[str, bytes]]  # id, beginning of the digest
Document = dict[str, Any]


@dataclass(kw_only=True)
class EdgeVerifierInPython:
    """Answers with the truth unless `lie` changes the document."""

    key: SealKey
    digests: Callable[[], Mapping[str, bytes]]  # of what the index holds now
    mutation: Callable[[], str]
    index: str
    state: Document = field(default_factory=dict)  # other members of /ready
    state_of_index: Document = field(default_factory=dict)  # and of its index
    lie: Callable[[Asked, Document], Document | Step] = lambda _, document: document
    lie_of_headers: Callable[[Reply], Reply] = lambda reply: reply
    questions: list[Asked] = field(default_factory=list)

    def answer(self, seen: Seen) -> Step:
        """One answer."""
        headers = seen.headers
        signed = request_text(
            seen.method,
            seen.target,
            int(headers["x-q2v-time"]),
            headers["x-q2v-nonce"],
            seen.body,
        )
        if not self.key.fits(signed, headers["x-q2v-hmac"]):
            return Reply(status=404)
        if seen.target == "/ready":
            return self._signed(headers["x-q2v-hmac"], 200, self._ready())
        if seen.target != question_path(self.index):
            return Reply(status=404)
        asked = read_question(seen.body)
        self.questions.append(asked)
        told = self.lie(asked, self.truth(asked))
        return self._signed(headers["x-q2v-hmac"], 200, told) if isinstance(told, dict) else told

    def truth(self, asked: Asked) -> Document:
        """What the Worker would answer."""
        held = self.digests()
        read = [(name, held[name]) for name, _ in asked if name in held]
        differs = [
            [name, held[name].hex()]
            for name, prefix in asked
            if name in held and not held[name].startswith(prefix)
        ]
        return {
            "read": len(read),
            "calls": -(-len(asked) // 20),
            "retries": 0,
            "missing": [name for name, _ in asked if name not in held],
            "differs": differs,
            "unreadable": [],
            "digest": sum_of([digest for _, digest in read]),
        }

    def _ready(self) -> Document:
        return {
            "service": "q2v verifier",
            "protocol": 2,
            "vectors_max": 20,
            "body_bytes_max": 2_000,
            "indexes": {
                self.index: {
                    "dimensions": 32,
                    "vector_count": 0,
                    "processed_mutation": self.mutation(),
                    **self.state_of_index,
                }
            },
            **self.state,
        }

    def _signed(self, request: str, status: int, document: Document) -> Reply:
        body = json.dumps(document).encode()
        signature = self.key.code(answer_text(request, status, body))
        reply = Reply(status=status, body=body, headers={"x-q2v-hmac": signature})
        return self.lie_of_headers(reply)


def sum_of(digests: list[bytes]) -> str:
    """The sum in an answer that read these."""
    return hashlib.sha256(b"q2v read 1\n" + b"".join(digests)).hexdigest()


def read_question(body: bytes) -> Asked:
    """The ids and the beginnings of their digests."""
    asked: Asked = []
    while body:
        end = 1 + body[0]
        asked.append((body[1:end].decode(), body[end : end + PREFIX_BYTES]))
        body = body[end + PREFIX_BYTES :]
    return asked


@contextmanager
def serving(verifier: EdgeVerifierInPython) -> Iterator[str]:
    """Its address."""
    with running_script(verifier.answer) as server:
        yield server.base_url.removesuffix("/client/v4")
