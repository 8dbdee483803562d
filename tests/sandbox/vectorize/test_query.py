"""Nearest neighbours, filters, and what a query may ask for."""

from typing import Any

import numpy as np
import pytest

from tests.sandbox.conftest import DIMENSIONS, Client, line, refusal

WANTED = [1.0] * DIMENSIONS


def matches(client: Client, **body: Any) -> list[str]:
    """Ids of the matches, nearest first."""
    found = client.result(client.query(**{"vector": WANTED, "topK": 50, **body}))
    assert found["count"] == len(found["matches"])
    return [match["id"] for match in found["matches"]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot-product"])
def test_neighbours_are_exact(client: Client, metric: str) -> None:
    rows = np.random.default_rng(7).normal(size=(600, DIMENSIONS)).astype(np.float32)
    client.sandbox.store.create_vector_index("exact", DIMENSIONS, metric)
    for ordinal, row in enumerate(rows[:60]):
        client.sandbox.store.put_vector("exact", str(ordinal), row)
    wanted = rows[-1].astype(float)
    distances = {
        "cosine": -(rows @ wanted) / np.linalg.norm(rows, axis=1),
        "euclidean": np.linalg.norm(rows - wanted, axis=1),
        "dot-product": -(rows @ wanted),
    }[metric][:60]

    answer = client.http.post(
        f"{client.indexes}/exact/query", json={"vector": wanted.tolist(), "topK": 7}
    )
    found = [match["id"] for match in client.result(answer)["matches"]]
    assert [str(place) for place in np.argsort(distances)[:7]] == found


def test_a_vector_finds_itself_by_id(client: Client) -> None:
    client.result(client.upsert(line("a", 5.0), line("b", -5.0)))

    found = client.result(client.query(vectorId="b", topK=1, returnValues=True))["matches"]
    assert (found[0]["id"], found[0]["values"][0]) == ("b", -5.0)
    assert pytest.approx(found[0]["score"]) == 1.0


def test_metadata_comes_all_or_indexed_or_not(client: Client) -> None:
    body = {"propertyName": "o.p", "indexType": "number"}
    client.result(client.http.post(f"{client.docs}/metadata_index/create", json=body))
    client.result(client.upsert(line("a", metadata={"o": {"p": 1, "q": 2}, "x": "y"})))

    def metadata(kind: str) -> Any:
        answer = client.query(vector=WANTED, returnMetadata=kind)
        return client.result(answer)["matches"][0].get("metadata")

    assert metadata("all") == {"o": {"p": 1, "q": 2}, "x": "y"}
    assert metadata("indexed") == {"o": {"p": 1}}
    assert metadata("none") is None


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"s": "a"}, {"1"}),
    ({"s": {"$eq": "a"}, "n": 1}, {"1"}),
    ({"s": {"$ne": "a"}}, {"2", "3"}),
    ({"s": {"$in": ["a", "b"]}}, {"1", "2"}),
    ({"s": {"$nin": ["a", "b"]}}, {"3"}),
    ({"n": {"$gt": 1}}, {"2"}),
    ({"n": {"$gte": 1, "$lt": 2}}, {"1"}),
    ({"n": {"$lte": 2}}, {"1", "2"}),
    ({"s": {"$gte": "b"}}, {"2"}),
    ({"o.b": True}, {"1"}),
    ({"o.b": 1}, set()),
    ({"not indexed": 1}, set()),
]


def _name(value: object) -> str:
    """The same in every process: a set has no order of its own."""
    return str(sorted(value)) if isinstance(value, set) else str(value)


@pytest.mark.parametrize(("request_filter", "expected"), FILTERS, ids=_name)
def test_filters(client: Client, request_filter: dict[str, Any], expected: set[str]) -> None:
    for name, kind in (("s", "string"), ("n", "number"), ("o.b", "boolean")):
        body = {"propertyName": name, "indexType": kind}
        client.result(client.http.post(f"{client.docs}/metadata_index/create", json=body))
    client.result(
        client.upsert(
            line("1", metadata={"s": "a", "n": 1, "o": {"b": True}, "not indexed": 1}),
            line("2", metadata={"s": "b", "n": 2.5 - 0.5, "o": {"b": False}}),
            line("3"),
        )
    )

    assert expected == set(matches(client, filter=request_filter))


def test_vectors_older_than_the_metadata_index_do_not_match_until_upserted(client: Client) -> None:
    client.result(client.upsert(line("a", metadata={"f": "x"})))
    body = {"propertyName": "f", "indexType": "string"}
    client.result(client.http.post(f"{client.docs}/metadata_index/create", json=body))
    before = matches(client, filter={"f": "x"})
    client.result(client.upsert(line("a", metadata={"f": "x"})))

    assert before == []
    assert matches(client, filter={"f": "x"}) == ["a"]


def test_strings_are_indexed_by_their_first_64_bytes(client: Client) -> None:
    body = {"propertyName": "f", "indexType": "string"}
    client.result(client.http.post(f"{client.docs}/metadata_index/create", json=body))
    client.result(client.upsert(line("a", metadata={"f": "x" * 64 + "a"})))

    assert matches(client, filter={"f": "x" * 64 + "b"}) == ["a"]
    assert matches(client, filter={"f": "x" * 63 + "y"}) == []


def test_a_namespace_limits_the_search(client: Client) -> None:
    client.result(client.upsert(line("a", namespace="n"), line("b")))

    assert matches(client, namespace="n") == ["a"]
    assert {"a", "b"} == set(matches(client))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"topK": 0}, 40025),
        ({"topK": 101}, 40025),
        ({"topK": 51, "returnValues": True}, 40025),
        ({"topK": 51, "returnMetadata": "all"}, 40025),
        ({"returnMetadata": True}, 40026),
        ({"vector": [1.0] * 31}, 40006),
        ({"filter": {}}, 40024),
        ({"filter": {"$a": 1}}, 40024),
        ({"filter": {"a..b": 1}}, 40024),
        ({"filter": {"k" * 513: 1}}, 40024),
        ({"filter": {"k": "x" * 2_041}}, 40024),
        ({"filter": {"k": {"$like": 1}}}, 40024),
        ({"filter": {"k": {"$gt": 1, "$gte": 1}}}, 40024),
        ({"filter": {"k": {"$in": "x"}}}, 40024),
        ({"filter": {"k": {"nested": 1}}}, 40024),
    ],
    ids=str,
)
def test_what_a_query_may_not_ask(client: Client, body: dict[str, Any], code: int) -> None:
    assert (400, code) == refusal(client.query(**{"vector": WANTED, **body}))


@pytest.mark.fault("F18")
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"topK": 60, "returnValues": True}, "max top K is 50, but got 60"),
        ({"topK": 51, "returnMetadata": "all"}, "max top K is 50, but got 51"),
        ({"topK": 101}, "max top K is 100, but got 101"),
    ],
)
def test_the_limit_of_top_k_is_told_in_the_service_s_words(
    client: Client, body: dict[str, Any], text: str
) -> None:
    answer = client.query(**{"vector": WANTED, **body})

    assert answer.json()["errors"][0]["message"] == f"vectorize.upstream_error - {text}"


@pytest.mark.fault("F18")
def test_ids_beyond_64_bytes_answer_40008_wherever_they_stand(client: Client) -> None:
    beyond = "ä" * 32 + "b"
    text = "vectorize.upstream_error - id too long; max is 64 bytes, got 65 bytes"
    answers = [
        client.http.post(f"{client.docs}/get_by_ids", json={"ids": ["a", beyond]}),
        client.delete_by_ids([beyond]),
        client.query(vectorId=beyond),
        client.upsert(line(beyond)),
    ]

    assert {refusal(answer) for answer in answers} == {(400, 40008)}
    assert {answer.json()["errors"][0]["message"] for answer in answers} == {text}
    assert client.get_by_ids("ä" * 32) == []


@pytest.mark.parametrize(
    "body",
    [
        {"topK": 100},
        {"topK": 100, "returnMetadata": "indexed"},
        {"topK": 50, "returnMetadata": "all", "returnValues": True},
        {"filter": {"k" * 512: 1}},
        {"filter": {"k": "x" * 2_039}},
        {"filter": {"k": None}},
    ],
    ids=str,
)
def test_what_a_query_may_just_ask(client: Client, body: dict[str, Any]) -> None:
    client.result(client.query(**{"vector": WANTED, **body}))
