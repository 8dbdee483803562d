"""Workers KV: limits, both ways to write, late sight, half successes."""

import json
from dataclasses import replace
from itertools import chain
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from sandbox.profile import INSTANT, STRICT
from tests.sandbox.conftest import Client, Start, refusal

CALM = replace(STRICT, kv_partial_rate=0.0, kv_empty_page_rate=0.0)


def value_url(client: Client, key: str) -> str:
    return f"{client.kv}/values/{quote(key, safe='')}"


def test_creates_answer_200_and_a_used_title_10014(client: Client) -> None:
    created = client.http.post(client.namespaces, json={"title": "new"})
    renamed = client.http.put(client.kv, json={"title": "new"})

    assert created.status_code == 200
    assert refusal(renamed) == refusal(client.http.post(client.namespaces, json={"title": "new"}))
    assert refusal(renamed) == (400, 10014)


def test_namespaces_are_listed_in_pages(client: Client) -> None:
    for number in range(4):
        client.sandbox.store.create_kv_namespace(f"n{number}")
    parameters = {"per_page": "2", "page": "3", "order": "title", "direction": "desc"}
    answer = client.http.get(client.namespaces, params=parameters).json()

    assert [one["title"] for one in answer["result"]] == ["files"]
    assert answer["result_info"] == {
        "count": 1,
        "page": 3,
        "per_page": 2,
        "total_count": 5,
        "total_pages": 3,
    }


def test_an_absent_namespace_answers_10013_and_an_absent_key_10009(client: Client) -> None:
    absent = f"{client.namespaces}/{'0' * 32}"

    assert refusal(client.http.get(f"{absent}/keys")) == (404, 10013)
    assert refusal(client.http.put(f"{absent}/values/k", content=b"v")) == (404, 10013)
    assert refusal(client.http.get(value_url(client, "absent"))) == (404, 10009)


@pytest.mark.parametrize("key", ["file:f/1", "%41", "a+b c", "?#&=", "ä😀", "...", "x" * 512])
def test_a_key_in_a_path_is_decoded_exactly_once(client: Client, key: str) -> None:
    client.result(client.http.put(value_url(client, key), content=b"\x00\xff"))

    assert client.http.get(value_url(client, key)).content == b"\x00\xff"
    assert [entry[0] for entry in client.sandbox.store.read_kv(client.namespace_id)] == [key]


@pytest.mark.parametrize("key", ["", ".", "..", "x" * 513, "é" * 257])
def test_keys_that_kv_does_not_take(client: Client, key: str) -> None:
    assert client.write_kv({"key": key, "value": "v"}).status_code in {400, 414}


BAD_PAIRS: list[dict[str, Any]] = [
    {"value": "v"},
    {"key": 1, "value": "v"},
    {"key": "k"},
    {"key": "k", "value": ["v"]},
    {"key": "k", "value": None},
    {"key": "k", "value": "v", "expiration_ttl": 59},
    {"key": "k", "value": "v", "expiration_ttl": "60"},
    {"key": "k", "value": "v", "expiration": 1_800_000_059},
    {"key": "k", "value": "v", "metadata": "x" * 1_023},
    {"key": "k", "value": "!", "base64": True},
    {"key": "k", "value": "v", "unknown": 1},
]


@pytest.mark.parametrize("pair", BAD_PAIRS, ids=str)
def test_one_bad_pair_refuses_all(client: Client, pair: dict[str, Any]) -> None:
    answer = client.write_kv({"key": "good", "value": "v"}, pair)

    assert 400 <= answer.status_code < 500
    assert list(client.sandbox.store.read_kv(client.namespace_id)) == []


def test_what_a_pair_may_just_be(client: Client) -> None:
    client.result(
        client.write_kv(
            {"key": "k" * 512, "value": "v", "expiration_ttl": 60, "expiration": 1},
            {"key": "absolute", "value": "v", "expiration": 1_800_000_060},
            {"key": "metadata", "value": "v", "metadata": "x" * 1_022},
            {"key": "base64", "value": "AP8=", "base64": True},
            {"key": "empty", "value": ""},
        )
    )

    entries = {entry[0]: entry[1:] for entry in client.sandbox.store.read_kv(client.namespace_id)}
    assert entries["base64"][0] == b"\x00\xff"
    assert entries["k" * 512][2] == entries["absolute"][2] == 1_800_000_060


@pytest.mark.slow
def test_10000_pairs_pass_10001_and_duplicates_do_not(client: Client) -> None:
    pairs = [{"key": str(number), "value": ""} for number in range(10_001)]

    assert client.write_kv(*pairs).status_code == 400
    assert client.write_kv(pairs[0], pairs[0]).status_code == 400
    done = client.result(client.write_kv(*pairs[:-1]))
    assert done == {"successful_key_count": 10_000, "unsuccessful_keys": []}


@pytest.mark.slow
def test_25_mib_pass_and_one_byte_more_does_not(client: Client) -> None:
    value = b"x" * (25 * 1024 * 1024)

    assert client.http.put(value_url(client, "k"), content=value + b"x").status_code == 413
    client.result(client.http.put(value_url(client, "k"), content=value))


def test_entries_expire(client: Client) -> None:
    client.result(client.http.put(f"{value_url(client, 'k')}?expiration_ttl=60", content=b"v"))
    before = client.http.get(value_url(client, "k"))
    client.clock.advance(60)

    assert before.headers["expiration"] == "1800000060"
    assert client.http.get(value_url(client, "k")).status_code == 404
    assert client.http.put(f"{value_url(client, 'k')}?expiration_ttl=59").status_code == 400


def test_multipart_carries_metadata(client: Client) -> None:
    form = {"value": (None, b"v\r\n--"), "metadata": (None, b'{"m": [1, null]}')}
    client.result(client.http.put(value_url(client, "k"), files=form))

    assert client.http.get(value_url(client, "k")).content == b"v\r\n--"
    metadata = client.http.get(f"{client.kv}/metadata/k")
    assert client.result(metadata) == {"m": [1, None]}


@pytest.mark.parametrize(("method", "path"), [("DELETE", "bulk"), ("POST", "bulk/delete")])
def test_both_bulk_deletes_take_keys_that_do_not_exist(
    client: Client, method: str, path: str
) -> None:
    client.result(client.write_kv({"key": "a", "value": "1"}, {"key": "b", "value": "2"}))
    answer = client.http.request(
        method, f"{client.kv}/{path}", content=json.dumps(["a", "absent"]).encode()
    )

    assert client.result(answer) == {"successful_key_count": 2, "unsuccessful_keys": []}
    assert client.read_kv("a", "b") == {"a": None, "b": "2"}


def test_bulk_reads_give_null_for_absent_keys(client: Client) -> None:
    pair = {"key": "k", "value": "[1]", "metadata": {"m": 1}, "expiration_ttl": 60}
    client.result(client.write_kv(pair))

    def read(**body: Any) -> Any:
        answer = client.http.post(f"{client.kv}/bulk/get", json={"keys": ["k", "a"], **body})
        return client.result(answer)["values"]

    assert read() == {"k": "[1]", "a": None}
    assert read(type="json") == {"k": [1], "a": None}
    assert read(withMetadata=True) == {
        "k": {"value": "[1]", "metadata": {"m": 1}, "expiration": 1_800_000_060},
        "a": None,
    }


def test_100_keys_are_read_and_101_refused(client: Client) -> None:
    keys = [str(number) for number in range(101)]

    assert len(client.read_kv(*keys[:100])) == 100
    answer = client.http.post(f"{client.kv}/bulk/get", json={"keys": keys})
    assert answer.status_code == 400


@pytest.mark.parametrize(("limit", "status"), [(9, 400), (10, 200), (1000, 200), (1001, 400)])
def test_key_pages_have_a_range(client: Client, limit: int, status: int) -> None:
    assert client.http.get(f"{client.kv}/keys?limit={limit}").status_code == status


def walk(client: Client, **parameters: Any) -> list[list[str]]:
    """Names by page."""
    pages, cursor = [], ""
    while True:
        given = {"limit": 10, "cursor": cursor, **parameters}
        answer = client.http.get(f"{client.kv}/keys", params=given).json()
        pages.append([key["name"] for key in answer["result"]])
        cursor = answer["result_info"]["cursor"]
        if not cursor:
            return pages


def test_keys_are_listed_in_utf8_order_below_a_prefix(client: Client) -> None:
    names = ["a:" + chr(number) for number in range(0x7A, 0x8F)] + ["a:😀", "a:\uffff", "b"]
    client.result(client.write_kv(*[{"key": name, "value": ""} for name in reversed(names)]))
    pages = walk(client, prefix="a:")

    assert [len(page) for page in pages] == [10, 10, 3]
    assert list(chain.from_iterable(pages)) == sorted(names[:-1], key=str.encode)


def test_a_page_may_be_empty_and_not_the_last(start: Start) -> None:
    client = start(replace(INSTANT, kv_empty_page_rate=0.5))
    client.result(client.write_kv(*[{"key": f"{n:03}", "value": ""} for n in range(60)]))
    pages = walk(client)

    assert [] in pages
    assert list(chain.from_iterable(pages)) == [f"{n:03}" for n in range(60)]


def test_writes_become_visible_late_and_misses_are_cached(start: Start) -> None:
    """A key looked at before it was written shows up later than one left alone."""
    client = start(CALM)
    client.result(client.write_kv({"key": "a", "value": "1"}, {"key": "b", "value": "1"}))
    client.clock.advance(5.5)
    early = client.read_kv("a")
    client.clock.advance(0.5)

    assert early == {"a": None}
    assert client.read_kv("a", "b") == {"a": None, "b": "1"}
    assert walk(client) == [["a", "b"]]
    client.clock.advance(5.5)
    assert client.read_kv("a") == {"a": "1"}


def test_the_old_value_is_seen_until_the_new_one_is(start: Start) -> None:
    client = start(CALM)
    client.sandbox.store.put_kv(client.namespace_id, "k", b"old")
    client.clock.advance(1)
    client.result(client.write_kv({"key": "k", "value": "new"}))
    client.clock.advance(3)
    client.result(client.http.delete(value_url(client, "k")))
    seen = []
    for _ in range(4):
        seen.append(client.read_kv("k")["k"])
        client.clock.advance(3)

    assert seen == ["old", "new", None, None]


def test_one_write_per_key_and_second(start: Start) -> None:
    client = start(CALM)
    client.result(client.http.put(value_url(client, "k"), content=b"1"))
    client.clock.advance(0.9)
    again = client.http.put(value_url(client, "k"), content=b"2")
    bulk = client.result(client.write_kv({"key": "k", "value": "3"}, {"key": "l", "value": "3"}))
    client.clock.advance(0.2)

    assert again.status_code == 429
    assert bulk == {"successful_key_count": 1, "unsuccessful_keys": ["k"]}
    client.result(client.http.put(value_url(client, "k"), content=b"4"))


def test_a_bulk_write_can_half_fail_inside_a_200(start: Start) -> None:
    client = start(replace(INSTANT, kv_partial_rate=1.0))
    done = client.result(client.write_kv(*[{"key": str(n), "value": "v"} for n in range(4)]))

    assert done == {"successful_key_count": 2, "unsuccessful_keys": ["0", "3"]}
    assert client.read_kv("0", "1") == {"0": None, "1": "v"}


def test_a_path_that_is_no_utf8_is_refused(client: Client) -> None:
    answer = httpx.get(
        f"{client.sandbox.base_url}{client.kv}/values/%FF",
        headers={"authorization": f"Bearer {client.sandbox.api_token}"},
    )

    assert answer.status_code == 400
