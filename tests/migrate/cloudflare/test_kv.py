"""The KV namespace over real sockets: what is sent, and what is believed of the answers."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.cloudflare.kv import EMPTY_PAGES_MAX, WorkersKvTarget
from migrate.errors import IndeterminateError, RemoteUnavailableError, TargetRefusedError
from migrate.model.records import KvEntry
from migrate.ports import KvTarget
from tests.harness.tiers import examples
from tests.migrate.cloudflare.clients import ACCOUNT_ID, ATTEMPTS_MAX, PATIENT, scripted
from tests.servers.scripted_http import Reply, Script, ScriptedServer, Seen, Step, envelope, failure

PREFIX = f"/client/v4/accounts/{ACCOUNT_ID}/storage/kv/namespaces/ns1"


@contextmanager
def target_of(script: Script, requests_max: int = 900) -> Iterator[tuple[ScriptedServer, KvTarget]]:
    with scripted(script, requests_max=requests_max) as (server, http):
        yield server, WorkersKvTarget(http, "ns1")


def entry(key: str, value: bytes = b"[]") -> KvEntry:
    return KvEntry(key=key, value=value)


def counts(succeeded: int, *failed: str) -> Reply:
    return envelope({"successful_key_count": succeeded, "unsuccessful_keys": list(failed)})


@pytest.mark.fault("K05")
def test_a_bulk_write_holds_plain_keys_and_values_as_text() -> None:
    entries = [
        KvEntry(
            key="file:a/b?\u00e9", value=b'["v1"]', metadata={"n": 1}, expiration=1_800_000_000
        ),
        KvEntry(key="raw", value=b"\xff\x00"),
    ]
    with target_of([counts(2)]) as (server, target):
        assert target.write(entries) == []

    (seen,) = server.requests
    assert (seen.method, seen.target) == ("PUT", f"{PREFIX}/bulk")
    assert seen.headers["content-type"] == "application/json"
    assert seen.json() == [
        {
            "key": "file:a/b?\u00e9",
            "value": '["v1"]',
            "metadata": {"n": 1},
            "expiration": 1_800_000_000,
        },
        {"key": "raw", "value": base64.b64encode(b"\xff\x00").decode(), "base64": True},
    ]


@pytest.mark.fault("K01")
@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (counts(3), []),
        (counts(2, "b"), ["b"]),
        (counts(1, "c", "a"), ["a", "c"]),
        (counts(2), ["a", "b", "c"]),
        (counts(3, "a"), ["a", "b", "c"]),
        (counts(0), ["a", "b", "c"]),
        (envelope({"successful_key_count": 3}), []),
    ],
)
def test_a_success_is_never_assumed(answer: Reply, failed: list[str]) -> None:
    """Keys named are returned; if the counts do not add up, all of them are."""
    with target_of([answer]) as (_, target):
        assert target.write([entry("a"), entry("b"), entry("c")]) == failed
        assert target.delete(["a", "b", "c"]) == failed


@pytest.mark.fault("K01", "N08")
@pytest.mark.parametrize(
    "answer",
    [envelope(None), envelope({}), counts(1, "z"), envelope({"successful_key_count": True})],
)
def test_a_bulk_answer_without_its_counts_is_unusable(answer: Reply) -> None:
    with target_of([answer]) as (server, target), pytest.raises(RemoteUnavailableError):
        target.write([entry("a"), entry("b")])

    assert len(server.requests) == ATTEMPTS_MAX


@pytest.mark.fault("K02")
def test_a_lost_answer_is_followed_by_the_same_values() -> None:
    with target_of([failure(504), counts(1)]) as (server, target):
        target.write([entry("a")])

    assert server.requests[0].body_sha256 == server.requests[1].body_sha256


@pytest.mark.slow
@pytest.mark.fault("K06", "N17", "F09")
def test_a_bulk_write_above_the_limit_leaves_in_halves() -> None:
    value = b"x" * 24_000_000
    entries = [entry(str(number), value) for number in range(5)]

    def answer(seen: Seen) -> Reply:
        body = seen.json()
        assert isinstance(body, list)
        return counts(len(body))

    with scripted(answer, limits=PATIENT) as (server, http):
        assert WorkersKvTarget(http, "ns1").write(entries) == []

    assert [seen.body_bytes < 100_000_000 for seen in server.requests] == [True, True]


@pytest.mark.slow
@pytest.mark.fault("K06", "N17", "F09")
@given(limit=st.integers(200, 2_000), count=st.integers(1, 60), bad=st.integers(0, 59))
@settings(max_examples=examples(15))
def test_bulk_bodies_that_get_a_413_are_halved_and_further_ones_are_smaller(
    limit: int, count: int, bad: int
) -> None:
    """Whoever sends the 413, in whatever form; keys that fail are still told by name."""
    entries = [entry(f"key-{number:03d}", b"v" * 40) for number in range(count)]
    stored: list[str] = []

    def answer(seen: Seen) -> Reply:
        if seen.body_bytes > limit:
            return Reply(status=413, body=b"<html>Request Entity Too Large</html>")
        body = seen.json()
        assert isinstance(body, list)
        keys = [one["key"] if isinstance(one, dict) else one for one in body]
        failed = [key for key in keys if key == f"key-{bad:03d}"]
        stored.extend(key for key in keys if key not in failed)
        return counts(len(keys) - len(failed), *failed)

    keys = [one.key for one in entries]
    expected = [key for key in keys if key == f"key-{bad:03d}"]
    for send, items in (("write", entries), ("delete", keys)):
        with target_of(answer) as (server, target):
            stored.clear()
            assert getattr(target, send)(items) == expected
            assert stored == [key for key in keys if key not in expected]
            first = [seen.body_bytes for seen in server.requests]
            server.requests.clear()
            getattr(target, send)(items)
            again = [seen.body_bytes for seen in server.requests]
        assert max(again) <= max(limit, max(first) // 2 + 1)


@pytest.mark.fault("K06", "F09")
def test_one_entry_that_is_too_large_is_refused_with_an_advice_that_exists() -> None:
    page = Reply(status=413, body=b"<html>too large</html>")
    with target_of([page]) as (server, target), pytest.raises(TargetRefusedError) as refusal:
        target.write([entry("k")])

    assert len(server.requests) == 1
    assert refusal.value.evidence["status"] == 413
    assert "the proxies between this machine and the service" in refusal.value.remedy


def test_a_bulk_delete_sends_the_keys_as_they_are() -> None:
    with target_of([counts(2)]) as (server, target):
        assert target.delete(["file:a", "%41"]) == []

    assert (server.requests[0].method, server.requests[0].target) == (
        "POST",
        f"{PREFIX}/bulk/delete",
    )
    assert server.requests[0].json() == ["file:a", "%41"]


class Namespace:
    """Answers reads from a dictionary, as text where it can, like the service."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values

    def __call__(self, seen: Seen) -> Step:
        if seen.method == "POST":
            keys = orjson.loads(seen.body)["keys"]
            return envelope({"values": {key: self._text(key) for key in keys}})
        value = self.values.get(unquote(seen.target.removeprefix(f"{PREFIX}/values/")))
        if value is None:
            return failure(404, (10009, "get: 'key not found'"))
        return Reply(body=value, headers={"Content-Type": "application/octet-stream"})

    def _text(self, key: str) -> object:
        if key not in self.values:
            return None
        return {"value": self.values[key].decode(errors="replace"), "metadata": {"key": key}}


@pytest.mark.fault("K05")
@settings(max_examples=examples(25), deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
            lambda key: key not in {".", ".."}
        ),
        st.binary(max_size=8) | st.just("\ufffd".encode()),
        max_size=6,
    )
)
def test_every_key_and_every_byte_comes_back(values: dict[str, bytes]) -> None:
    """Keys that need encoding, values that are no UTF-8 or hold the replacement character."""
    with target_of(Namespace(values)) as (_, target):
        found = target.read([*values, "absent-key-of-this-test"])

    assert {key: found_entry.value for key, found_entry in found.items()} == values
    assert all(found_entry.metadata == {"key": key} for key, found_entry in found.items())


def test_only_values_that_may_have_lost_bytes_are_read_twice() -> None:
    namespace = Namespace({"file:a": b'["v"]', "file:b": b"\xff"})
    with target_of(namespace) as (server, target):
        target.read(["file:a", "file:b"])

    assert [seen.target for seen in server.requests] == [
        f"{PREFIX}/bulk/get",
        f"{PREFIX}/values/file%3Ab",
    ]
    request = server.requests[0].json()
    assert request == {"keys": ["file:a", "file:b"], "type": "text", "withMetadata": True}


@pytest.mark.fault("K04")
def test_a_key_that_vanishes_between_two_reads_is_absent() -> None:
    def script(seen: Seen) -> Step:
        if seen.method == "POST":
            return envelope({"values": {"a": {"value": "\ufffd", "metadata": None}}})
        return failure(404, (10009, "get: 'key not found'"))

    with target_of(script) as (_, target):
        assert target.read(["a"]) == {}


@pytest.mark.parametrize(("keys", "requests"), [(0, 0), (1, 1), (100, 1), (101, 2), (250, 3)])
def test_keys_are_read_a_hundred_at_a_time(keys: int, requests: int) -> None:
    names = [f"k{number}" for number in range(keys)]
    with target_of(Namespace(dict.fromkeys(names, b"1"))) as (server, target):
        assert list(target.read(iter([*names, *names]))) == names

    assert len(server.requests) == requests


@pytest.mark.fault("N17")
def test_an_answer_that_is_too_large_is_asked_for_in_halves() -> None:
    namespace = Namespace({f"k{number}": b"1" for number in range(100)})

    def script(seen: Seen) -> Step:
        asked = orjson.loads(seen.body)["keys"]
        return failure(413, (10101, "too large")) if len(asked) > 30 else namespace(seen)

    with target_of(script) as (_, target):
        assert len(target.read(namespace.values)) == 100


def test_a_value_that_is_refused_as_text_is_read_alone() -> None:
    """Some services refuse the whole bulk read for one value that is no text."""
    namespace = Namespace({f"k{number}": b"1" for number in range(9)} | {"raw": b"\xff\x00"})

    def script(seen: Seen) -> Step:
        if "/metadata/" in seen.target:
            return envelope({"key": "raw"})
        if seen.method == "POST" and b'"raw"' in seen.body:
            return failure(400, (10001, "the value of a key is not text"))
        return namespace(seen)

    with target_of(script) as (_, target):
        found = target.read([*namespace.values, "absent"])

    assert {key: found_entry.value for key, found_entry in found.items()} == namespace.values
    assert found["raw"].metadata == {"key": "raw"}


@pytest.mark.fault("R08", "N08")
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"a": None},
        {"a": None, "b": None, "c": None},
        {"a": "text", "b": None},
        {"a": {"metadata": None}, "b": None},
        {"a": {"value": 1}, "b": None},
    ],
    ids=str,
)
def test_every_key_has_to_be_answered(values: object) -> None:
    """A key left out is not an absent key: that would be taken for a pre-image."""
    script = [envelope({"values": values})]
    with target_of(script) as (_, target), pytest.raises(RemoteUnavailableError):
        target.read(["a", "b"])


def keys_page(*names: str, cursor: str = "", **more: object) -> Reply:
    keys = [{"name": name, **more} for name in names]
    return envelope(keys, result_info={"count": len(keys), "cursor": cursor})


@pytest.mark.fault("K07", "K08")
def test_a_listing_goes_on_over_empty_pages_with_the_prefix_each_time() -> None:
    script = [
        keys_page("file:a", cursor="x=", metadata={"n": 1}, expiration=1_800_000_000),
        keys_page(cursor="y"),
        keys_page("file:b"),
    ]
    with target_of(script) as (server, target):
        listed = list(target.list_keys("file:"))

    assert listed == [
        KvEntry(key="file:a", value=b"", metadata={"n": 1}, expiration=1_800_000_000),
        KvEntry(key="file:b", value=b""),
    ]
    assert [seen.target for seen in server.requests] == [
        f"{PREFIX}/keys?limit=1000&prefix=file%3A",
        f"{PREFIX}/keys?limit=1000&prefix=file%3A&cursor=x%3D",
        f"{PREFIX}/keys?limit=1000&prefix=file%3A&cursor=y",
    ]


@pytest.mark.parametrize("info", [{}, {"result_info": {}}, {"result_info": {"cursor": None}}])
def test_a_page_without_a_cursor_is_the_last(info: dict[str, object]) -> None:
    with target_of([envelope([{"name": "a"}], **info)]) as (_, target):
        assert [listed.key for listed in target.list_keys("")] == ["a"]


BROKEN_LISTINGS = {
    "same cursor again": [keys_page("a", cursor="x"), keys_page("b", cursor="x")],
    "same page again": [
        keys_page("a", cursor="x"),
        keys_page("b", cursor="y"),
        keys_page("a", cursor="z"),
    ],
    **{
        f"cursor answered {status}": [keys_page("a", cursor="x"), failure(status, (10001, "bad"))]
        for status in (400, 404, 410)
    },
}


@pytest.mark.fault("K07")
@pytest.mark.parametrize("script", BROKEN_LISTINGS.values(), ids=BROKEN_LISTINGS)
def test_a_listing_that_breaks_is_not_told_for_complete(script: list[Reply]) -> None:
    with target_of(script) as (_, target), pytest.raises(IndeterminateError):
        list(target.list_keys(""))


@pytest.mark.slow
@pytest.mark.fault("K07")
def test_empty_pages_do_not_go_on_for_ever() -> None:
    number = iter(range(10**9))
    with (
        target_of(lambda _: keys_page(cursor=f"c{next(number)}"), requests_max=1_200) as (
            server,
            target,
        ),
        pytest.raises(IndeterminateError, match="empty pages"),
    ):
        list(target.list_keys(""))

    assert len(server.requests) == EMPTY_PAGES_MAX + 1


@pytest.mark.fault("K08")
def test_a_key_outside_of_the_prefix_is_not_believed() -> None:
    with target_of([keys_page("other:a")]) as (_, target), pytest.raises(RemoteUnavailableError):
        list(target.list_keys("file:"))


def test_no_such_namespace_is_a_refusal() -> None:
    with target_of([failure(404, (10013, "namespace not found"))]) as (_, target):
        for call in (
            lambda: list(target.list_keys("")),
            lambda: target.read(["a"]),
            lambda: target.write([entry("a")]),
        ):
            with pytest.raises(TargetRefusedError) as refusal:
                call()
            assert "provision" in refusal.value.remedy


def test_the_identity_names_the_namespace() -> None:
    with target_of([]) as (_, target):
        assert target.identity()["kv_namespace"] == "ns1"
