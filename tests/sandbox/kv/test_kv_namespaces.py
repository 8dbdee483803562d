"""KV namespaces with a jurisdiction or of another mode, and what KV Instant takes."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.clock import ManualClock
from sandbox.kv.rules import KvPair
from sandbox.profile import INSTANT, STRICT
from sandbox.server import running_sandbox
from sandbox.store import SandboxStore
from tests.sandbox.conftest import Client, Start, refusal

pytestmark = pytest.mark.fault("F17")


def create(client: Client, **members: Any) -> Any:
    return client.result(client.http.post(client.namespaces, json={"title": "new", **members}))


@pytest.mark.parametrize("jurisdiction", ["eu", "us", "fedramp"])
def test_a_jurisdiction_is_chosen_at_creation_and_shown(client: Client, jurisdiction: str) -> None:
    created = create(client, jurisdiction=jurisdiction)
    url = f"{client.namespaces}/{created['id']}"
    renamed = client.result(client.http.put(url, json={"title": "other"}))
    listed = client.result(client.http.get(client.namespaces))

    assert created["jurisdiction"] == jurisdiction
    assert renamed == {**created, "title": "other"}
    assert client.result(client.http.get(url)) == renamed
    assert renamed in listed
    assert "jurisdiction" not in client.result(client.http.get(client.kv))


@pytest.mark.parametrize(
    "members",
    [
        {"jurisdiction": "de"},
        {"jurisdiction": "EU"},
        {"jurisdiction": ["eu"]},
        {"mode": "fast"},
        {"mode": 1},
        {"mode": "instant", "jurisdiction": "eu"},
        {"region": "eu"},
        {"id": "0" * 32},
    ],
    ids=str,
)
def test_what_the_service_does_not_know_is_refused(client: Client, members: Any) -> None:
    answer = client.http.post(client.namespaces, json={"title": "new", **members})

    assert refusal(answer) == (400, 10001)
    assert len(client.result(client.http.get(client.namespaces))) == 1


@pytest.mark.parametrize("member", ["jurisdiction", "mode", "id"])
def test_nothing_but_the_title_changes_later(client: Client, member: str) -> None:
    answer = client.http.put(client.kv, json={"title": "new", member: "eu"})

    assert refusal(answer) == (400, 10001)


@pytest.fixture
def instant(client: Client) -> Client:
    """A sandbox whose `kv` is a namespace of KV Instant."""
    created = create(client, mode="instant")
    assert created["mode"] == "instant"
    client.namespace_id = created["id"]
    client.kv = f"{client.namespaces}/{created['id']}"
    return client


def put(client: Client, key: str, value: bytes) -> Any:
    return client.http.put(f"{client.kv}/values/{quote(key, safe='')}", content=value)


def test_instant_takes_values_of_1_mb_and_keys_of_300_bytes(instant: Client) -> None:
    instant.result(put(instant, "ä" * 150, b"x" * 1_000_000))

    assert refusal(put(instant, "k", b"x" * 1_000_001)) == (413, 10001)
    assert refusal(put(instant, "ä" * 150 + "b", b"x")) == (414, 10001)
    many = instant.write_kv({"key": "a", "value": "v"}, {"key": "b", "value": "x" * 1_000_001})
    assert refusal(many) == (413, 10001)
    assert len(list(instant.sandbox.store.read_kv(instant.namespace_id))) == 1


def test_instant_takes_no_metadata(instant: Client) -> None:
    assert refusal(instant.write_kv({"key": "k", "value": "v", "metadata": {"n": 1}})) == (
        400,
        10001,
    )
    instant.result(instant.write_kv({"key": "k", "value": "v", "metadata": None}))


@pytest.mark.slow
def test_instant_holds_10_000_keys_and_lists_them_in_one_page(instant: Client) -> None:
    pairs = [{"key": f"k{n:05}", "value": "v"} for n in range(10_000)]
    instant.result(instant.write_kv(*pairs))
    answer = instant.http.get(f"{instant.kv}/keys", params={"limit": "10"}).json()

    assert [one["name"] for one in answer["result"]] == [pair["key"] for pair in pairs]
    assert answer["result_info"] == {"count": 10_000, "cursor": ""}
    instant.result(put(instant, "k00000", b"again"))
    assert refusal(put(instant, "one more", b"v")) == (400, 10001)


def test_instant_takes_one_write_a_second(start: Start, clock: ManualClock) -> None:
    """Of the whole namespace, whatever the key; ordinary ones count per key."""
    calm = replace(STRICT, kv_partial_rate=0.0, kv_visible_after_s=0.0)
    client = start(calm)
    client.result(put(client, "a", b"v"))
    client.result(put(client, "b", b"v"))
    client.kv = f"{client.namespaces}/{create(client, mode='instant')['id']}"
    client.result(put(client, "a", b"v"))

    assert put(client, "b", b"v").status_code == 429
    assert client.write_kv({"key": "b", "value": "v"}).status_code == 429
    clock.advance(1.0)
    client.result(client.write_kv({"key": "b", "value": "v"}, {"key": "c", "value": "v"}))


def test_state_of_the_format_before_is_taken_over(tmp_path: Path, clock: ManualClock) -> None:
    """Format 1 knew neither jurisdictions nor modes nor Workers."""
    store = SandboxStore(tmp_path, INSTANT, clock)
    namespace_id = store.create_kv_namespace("old")
    store.kv.plant(namespace_id, "k", KvPair(key="k", value=b"v"))
    store.close()
    connection = sqlite3.connect(tmp_path / "state.sqlite3")
    for statement in (
        "ALTER TABLE kv_namespaces DROP COLUMN jurisdiction",
        "ALTER TABLE kv_namespaces DROP COLUMN mode",
        "DROP TABLE script_versions",
        "DROP TABLE script_deployments",
        "PRAGMA user_version = 1",
    ):
        connection.execute(statement)
    connection.close()

    with running_sandbox(tmp_path, clock=clock) as sandbox:
        assert [entry[:2] for entry in sandbox.store.read_kv(namespace_id)] == [("k", b"v")]
        assert sandbox.store.kv.namespaces.create("new", jurisdiction="eu").jurisdiction == "eu"
