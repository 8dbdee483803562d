"""Both sides of every limit and rule of Vectorize."""

import json
from typing import Any

import pytest

from tests.sandbox.conftest import DIMENSIONS, NDJSON, Client, line, refusal

UNPARSABLE = [
    "no json",
    '{"id": "a"}',
    '{"values": [1]}',
    '["a"]',
    line("a").replace("0.5", "null"),
    line("a").replace("0.5", "true"),
    line("a").replace("0.5", '"1"'),
    line("a").replace("0.5", "[0.5]"),
    line("a").replace("0.5", "NaN"),
    line("a").replace("0.5", "1e39"),
    line("a").replace("0.5", "1e999"),
    line("a")[:-1] + ',"extra": 1}',
    line("a", metadata={"text": "x"}).replace('"x"', '"\\ud835"'),
    line("\\ud835").replace("\\\\", "\\"),
    line("a", metadata=[1]),
    line("a", metadata={"k": None}),
    line("a", metadata={"k": [1]}),
    line("a", metadata={"k": ["a", 1]}),
    line("a", metadata={"k": {"l": {"m": 1}}}),
    line("a", namespace=1),
    line(""),
    json.dumps({"id": 7, "values": [0.5] * DIMENSIONS}),
]


@pytest.mark.parametrize("bad", UNPARSABLE)
def test_one_unparsable_line_refuses_the_whole_upload(client: Client, bad: str) -> None:
    answer = client.upsert(line("good"), bad, line("good too"))

    assert refusal(answer) == (400, 40023)
    assert client.list_page(count=10)["totalCount"] == 0


@pytest.mark.parametrize("bad", UNPARSABLE)
def test_discard_loses_the_line_and_tells_nobody(client: Client, bad: str) -> None:
    parameters = {"unparsable-behavior": "discard"}
    result = client.result(client.upsert(line("good"), bad, params=parameters))

    assert list(result) == ["mutationId"]
    assert client.list_page(count=10)["vectors"] == [{"id": "good"}]


def test_another_unparsable_behaviour_is_refused(client: Client) -> None:
    answer = client.upsert(line("a"), params={"unparsable-behavior": "ignore"})

    assert answer.status_code == 400


GOOD_METADATA: list[dict[str, Any]] = [
    {"text": "é\u2028😀\u0000", "n": -1.5, "b": True, "l": ["a", ""], "o": {"p": 1}},
    {"big": 2**53 + 1, "tiny": 5e-324, "empty": [], "brackets": "][", "values": "[1"},
]


@pytest.mark.parametrize("metadata", GOOD_METADATA)
def test_metadata_comes_back_equal(client: Client, metadata: dict[str, Any]) -> None:
    client.result(client.upsert(line("a", metadata=metadata)))

    assert metadata == client.get_by_ids("a")[0]["metadata"]


@pytest.mark.parametrize("key", ["", "a.b", 'a"b', "$a"])
@pytest.mark.parametrize("nested", [False, True])
def test_metadata_keys_have_rules(client: Client, key: str, nested: bool) -> None:
    metadata = {"o": {key: 1}} if nested else {key: 1}

    assert refusal(client.upsert(line("a", metadata=metadata))) == (400, 40018)


def test_metadata_is_measured_as_compact_json(client: Client) -> None:
    """10,240 bytes of UTF-8 pass, spaces do not count, one byte more is refused."""
    fits = {"k": "é" * 5_116}
    over = {"k": "é" * 5_116 + "x"}

    client.result(client.upsert(line("a", metadata=fits)))
    answer = client.upsert(line("a", metadata=over))
    assert refusal(answer) == (400, 40016)
    assert "10240 bytes, got 10241" in answer.text


def test_ids_and_namespaces_are_measured_in_bytes(client: Client) -> None:
    client.result(client.upsert(line("😀" * 16, namespace="😀" * 16)))

    assert refusal(client.upsert(line("😀" * 16 + "x"))) == (400, 40008)
    assert refusal(client.upsert(line("a", namespace="x" * 65))) == (400, 40009)


def test_values_must_fit_the_index(client: Client) -> None:
    answer = client.upsert(json.dumps({"id": "a", "values": [1] * 31}))

    assert refusal(answer) == (400, 40012)
    assert "expected 32 dimensions, and got 31" in answer.text


@pytest.mark.slow
def test_5000_vectors_pass_and_5001_do_not(client: Client) -> None:
    lines = [line(str(number)) for number in range(5_001)]

    assert client.upsert(*lines).status_code == 400
    client.result(client.upsert(*lines[:-1]))
    assert client.info()["vectorCount"] == 5_000


@pytest.mark.slow
def test_a_body_above_100_megabytes_is_refused_by_the_edge(client: Client) -> None:
    blank = b" " * 1_000_000

    def body(size: int) -> Any:
        yield line("a").encode() + b"\n"
        sent = len(line("a")) + 1
        while sent < size:
            piece = blank[: size - sent]
            sent += len(piece)
            yield piece

    url = f"{client.docs}/upsert"
    over = client.http.post(url, content=body(100_000_001), headers=NDJSON)
    assert (over.status_code, over.headers["content-type"]) == (413, "text/html; charset=UTF-8")
    client.result(client.http.post(url, content=body(100_000_000), headers=NDJSON))


def test_multipart_is_taken_and_other_content_types_are_not(client: Client) -> None:
    url, lines = f"{client.docs}/upsert", line("a") + "\n" + line("b")
    form = {"vectors": ("vectors.ndjson", lines, "application/x-ndjson")}

    client.result(client.http.post(url, files=form))
    assert client.info()["vectorCount"] == 2
    assert client.http.post(url, files={"other": lines}).status_code == 400
    assert refusal(client.http.post(url, json={})) == (400, 1005)


def test_of_two_content_types_the_last_one_counts(client: Client) -> None:
    """Cloudflare's Python client sends its own besides the caller's."""
    types = [("content-type", "application/json"), *NDJSON.items()]

    client.result(client.http.post(f"{client.docs}/upsert", content=line("a"), headers=types))
    turned = client.http.post(f"{client.docs}/upsert", content=line("a"), headers=types[::-1])

    assert client.info()["vectorCount"] == 1
    assert refusal(turned) == (400, 1005)


def test_20_ids_are_read_and_21_refused(client: Client) -> None:
    ids = [str(number) for number in range(34)]

    assert client.get_by_ids(*ids[:20]) == []
    answer = client.http.post(f"{client.docs}/get_by_ids", json={"ids": ids})
    assert refusal(answer) == (400, 40007)
    assert "too many ids in payload; max id count is 20, got 34" in answer.text


def test_100_ids_are_deleted_and_101_refused(client: Client) -> None:
    ids = [str(number) for number in range(101)]

    client.result(client.delete_by_ids(ids[:100]))
    assert refusal(client.delete_by_ids(ids)) == (400, 40007)


@pytest.mark.parametrize(("dimensions", "status"), [(31, 400), (32, 200), (1536, 200), (1537, 400)])
def test_dimensions_have_a_range(client: Client, dimensions: int, status: int) -> None:
    config = {"dimensions": dimensions, "metric": "cosine"}
    answer = client.http.post(client.indexes, json={"name": "new", "config": config})

    assert status == answer.status_code
    assert status == 200 or "Dimensions must be in range: [32, 1536]" in answer.text


def test_a_flat_config_a_bad_name_and_a_used_name_are_refused(client: Client) -> None:
    config = {"dimensions": 32, "metric": "cosine"}
    flat = client.http.post(client.indexes, json={"name": "new", **config})
    long = client.http.post(client.indexes, json={"name": "x" * 65, "config": config})
    used = client.http.post(client.indexes, json={"name": "docs", "config": config})

    assert "vectorize.index.invalid_config" in flat.text
    assert long.status_code == 400
    assert refusal(used) == (400, 3002)


@pytest.mark.parametrize("operation", ["info", "list", "metadata_index/list"])
def test_an_absent_index_is_told_by_its_code(client: Client, operation: str) -> None:
    """Operations answer 400; the lookup of the index itself 404, after a deletion 410."""
    absent = f"{client.indexes}/absent"

    assert refusal(client.http.get(f"{absent}/{operation}")) == (400, 3000)
    assert refusal(client.http.get(absent)) == (404, 3000)
    client.result(client.http.delete(client.docs))
    assert refusal(client.http.get(f"{client.docs}/{operation}")) == (400, 3005)
    assert refusal(client.http.get(client.docs)) == (410, 3005)


def test_a_name_can_be_used_again_and_shows_nothing_old(client: Client) -> None:
    client.result(client.upsert(line("a")))
    client.result(client.http.delete(client.docs))
    client.sandbox.store.create_vector_index("docs", DIMENSIONS, "euclidean")

    assert client.get_by_ids("a") == []
    assert client.info()["vectorCount"] == 0


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 200), (1000, 200), (1001, 400)])
def test_list_pages_have_a_range(client: Client, count: int, status: int) -> None:
    assert status == client.http.get(f"{client.docs}/list?count={count}").status_code


def test_an_eleventh_metadata_index_is_refused(client: Client) -> None:
    url = f"{client.docs}/metadata_index/create"
    for number in range(10):
        client.result(
            client.http.post(url, json={"propertyName": f"p{number}", "indexType": "string"})
        )

    eleventh = client.http.post(url, json={"propertyName": "p10", "indexType": "string"})
    again = client.http.post(url, json={"propertyName": "p0", "indexType": "string"})
    assert eleventh.status_code == 400
    assert again.status_code == 200
