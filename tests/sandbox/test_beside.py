"""Large requests: others are answered before they end. The order of answers decides, not a time."""

import json
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from sandbox.errors import ServiceError
from sandbox.limits import JSON_BYTES_MAX, LINE_BYTES_MAX
from sandbox.profile import INSTANT
from sandbox.vectorize.ndjson import UploadedVector, UploadParser
from tests.sandbox.conftest import DIMENSIONS, Client, line, refusal

pytestmark = pytest.mark.fault("F18")

VECTORS = 100_000
ANSWERED_MIN = 3  # the first one or two may have overtaken the large request on their way
TRIPS_TO_DRAIN = 100  # until the sandbox has read all that the socket had buffered
JSON = "application/json"


def plant(client: Client, count: int) -> None:
    """Many vectors behind the API."""
    vectors = client.sandbox.store.vectors
    rows = np.random.default_rng(18).random((count, DIMENSIONS), np.float32)
    with client.sandbox.store.lock:
        index = vectors.indexes.get("docs")
        first = vectors.keep_rows(index, rows)
        uploaded = [
            UploadedVector(f"v{n}", first + n, None, b'{"f":"f%d"}' % (n % 7)) for n in range(count)
        ]
        vectors.write_vectors(index, uploaded, replace=True)


def exchange(
    client: Client, method: str, path: str, body: bytes = b"", content_type: str = JSON
) -> tuple[int, int]:
    """Its status, and how many other requests were sent and answered before it was.

    The last byte is held back until the sandbox has read the others.
    """
    address = urlsplit(client.sandbox.base_url)
    head = (
        f"{method} {address.path}{path} HTTP/1.1\r\nhost: loopback\r\nconnection: close\r\n"
        f"authorization: Bearer {client.sandbox.api_token}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    whole = head.encode() + body
    assert address.hostname is not None
    with closing(socket.create_connection((address.hostname, address.port or 0), 120)) as large:
        large.sendall(whole[:-1])
        for _ in range(TRIPS_TO_DRAIN):
            client.info()
        before = len(client.sandbox.requests)
        large.sendall(whole[-1:])
        while not select.select([large], [], [], 0)[0]:
            client.info()
        answer = large.recv(65536)
    records = client.sandbox.requests[before:]
    place = next(at for at, record in enumerate(records) if not record.path.endswith("/info"))
    return int(answer.split(b" ", 2)[1]), place


@pytest.fixture
def generous(start: Any) -> Client:
    """A sandbox whose budget is no part of the test."""
    client: Client = start(replace(INSTANT, requests_per_5min=1_000_000))
    return client


@pytest.mark.slow
def test_a_query_over_100_000_vectors_lets_others_pass(generous: Client) -> None:
    plant(generous, VECTORS)
    generous.http.post(
        f"{generous.docs}/metadata_index/create", json={"propertyName": "f", "indexType": "string"}
    )
    body = json.dumps({"vector": [0.5] * DIMENSIONS, "topK": 50, "filter": {"f": {"$ne": "f1"}}})
    status, answered = exchange(generous, "POST", f"{generous.docs}/query", body.encode())

    assert status == 200
    assert answered >= ANSWERED_MIN


@pytest.mark.slow
def test_the_deletion_of_a_large_index_lets_others_pass(generous: Client) -> None:
    """Of another one than the others ask for."""
    plant(generous, VECTORS)
    generous.sandbox.store.create_vector_index("small", DIMENSIONS, "cosine")
    large, generous.docs = generous.docs, f"{generous.indexes}/small"
    status, answered = exchange(generous, "DELETE", large)

    assert status == 200
    assert answered >= ANSWERED_MIN


@pytest.mark.slow
def test_a_bulk_write_of_30_mb_lets_others_pass(generous: Client) -> None:
    pairs = [{"key": f"k{n}", "value": "x" * 3_000} for n in range(10_000)]
    body = json.dumps(pairs).encode()
    status, answered = exchange(generous, "PUT", f"{generous.kv}/bulk", body)

    assert status == 200
    assert answered >= ANSWERED_MIN
    assert len(list(generous.sandbox.store.read_kv(generous.namespace_id))) == 10_000


@pytest.mark.slow
def test_a_multipart_upload_of_5_000_lets_others_pass(generous: Client) -> None:
    lines = "\n".join(line(f"v{n}", n + 1.0, metadata={"text": "x" * 2_000}) for n in range(5_000))
    part = 'content-disposition: form-data; name="vectors"; filename="v.ndjson"'
    body = f"--cut\r\n{part}\r\n\r\n{lines}\r\n--cut--\r\n".encode()
    kind = "multipart/form-data; boundary=cut"
    status, answered = exchange(generous, "POST", f"{generous.docs}/upsert", body, kind)

    assert status == 200
    assert answered >= ANSWERED_MIN
    assert generous.info()["vectorCount"] == 5_000


@pytest.mark.slow
def test_the_deletion_of_a_full_namespace_lets_others_pass(generous: Client) -> None:
    for start in range(0, 20_000, 10_000):
        generous.write_kv(*({"key": f"k{start + n}", "value": "v"} for n in range(10_000)))
    status, answered = exchange(generous, "DELETE", generous.kv)

    assert status == 200
    assert answered >= ANSWERED_MIN


@pytest.fixture
def parser() -> UploadParser:
    return parser_of(discard=False)


def parser_of(*, discard: bool) -> UploadParser:
    return UploadParser(DIMENSIONS, index_id=1, discard=discard, keep_rows=lambda _: 0)


def calls_of(steps: Iterator[None]) -> int:
    """How many Python functions are called until the steps are done."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for _ in steps:
            pass
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("blank", [b"\n", b" \n", b"\r\n\t\x0b\x0c"])
def test_blank_lines_cost_nothing_each(parser: UploadParser, blank: bytes) -> None:
    """However many: a body of 100 MB of them is let through piece by piece."""
    assert calls_of(parser.feed_in_steps(blank * 100_000)) < 10

    parser.feed(line("v").encode())
    assert [vector.id for vector in parser.finish()] == ["v"]


@pytest.mark.slow
def test_a_pause_comes_after_every_few_lines() -> None:
    parser = parser_of(discard=True)
    pauses = sum(1 for _ in parser.feed_in_steps(b"{}\n" * 20_000))

    assert pauses > 70
    assert parser.finish() == []


@pytest.mark.parametrize("piece_bytes", [65_536, 100_000_000])
def test_a_line_beyond_reason_is_refused_and_not_kept(
    parser: UploadParser, piece_bytes: int
) -> None:
    piece = b"x" * min(piece_bytes, 2 * LINE_BYTES_MAX)
    for _ in range(2 * LINE_BYTES_MAX // len(piece)):
        parser.feed(piece)
    kept = sum(map(len, parser._unfinished))  # noqa: SLF001 - memory is what it is about
    with pytest.raises(ServiceError) as caught:
        parser.finish()

    assert kept <= LINE_BYTES_MAX + 1
    assert caught.value.code == 40023


def test_a_line_beyond_reason_is_left_out_where_lines_are_discarded() -> None:
    parser = parser_of(discard=True)
    parser.feed(b"x" * (LINE_BYTES_MAX + 5) + b"\n" + line("v").encode())

    assert [vector.id for vector in parser.finish()] == ["v"]


def test_other_bodies_are_limited_to_1_mb(client: Client) -> None:
    fits = client.http.post(f"{client.docs}/get_by_ids", content=b" " * JSON_BYTES_MAX)
    beyond = client.http.post(f"{client.docs}/get_by_ids", content=b" " * (JSON_BYTES_MAX + 1))

    assert refusal(fits) == (400, 1000)
    assert beyond.status_code == 413


@pytest.mark.slow
@pytest.mark.parametrize(
    "body", [b"[1" + b",1" * 3_000_000 + b"]", b"[" * 3_000_000, b'[""' + b',""' * 3_000_000 + b"]"]
)
def test_a_bulk_request_of_millions_of_values_is_refused_unparsed(
    client: Client, body: bytes
) -> None:
    answer = client.http.put(f"{client.kv}/bulk", content=body)

    assert refusal(answer) == (400, 10001)
    assert "more than 2000000 values" in answer.text


@pytest.mark.slow
def test_commas_in_texts_are_no_values(client: Client) -> None:
    value = json.dumps([f'"{n}\\' for n in range(500_000)])
    client.result(client.write_kv({"key": "k", "value": value}, {"key": "{[,", "value": ""}))

    assert next(iter(client.sandbox.store.read_kv(client.namespace_id)))[1] == value.encode()


def test_a_form_of_many_parts_is_refused(client: Client) -> None:
    body = b"--x\r\n\r\n\r\n" * 100_000 + b"--x--"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.http.put(f"{client.kv}/values/k", content=body, headers=headers)

    assert refusal(answer) == (400, 10001)


@pytest.mark.slow
def test_a_key_listing_reads_no_values(client: Client) -> None:
    """25 values of 4 MB: the answer names them all, the prefix leaves none out."""
    for number in range(25):
        client.sandbox.store.put_kv(client.namespace_id, f"p/{number:02}", b"x" * 4_000_000)
    client.sandbox.store.put_kv(client.namespace_id, "p/\U0010ffff\U0010ffff", b"last")
    client.sandbox.store.put_kv(client.namespace_id, "q", b"other")
    answer = client.http.get(f"{client.kv}/keys", params={"prefix": "p/"}).json()

    assert len(answer["result"]) == 26
    assert answer["result"][-1]["name"] == "p/\U0010ffff\U0010ffff"


@pytest.mark.slow
def test_a_bulk_read_is_limited_to_25_mib(client: Client) -> None:
    for number in range(6):
        client.sandbox.store.put_kv(client.namespace_id, f"k{number}", b"x" * 5 * 1024 * 1024)
    fits = [f"k{number}" for number in range(5)]

    assert len(client.read_kv(*fits)) == 5
    beyond = client.http.post(f"{client.kv}/bulk/get", json={"keys": [*fits, "k5"]})
    assert refusal(beyond) == (413, 10001)
