"""Tokens, routes, envelope, rate budget: what both products share."""

import asyncio
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sandbox.app import API_TOKEN
from sandbox.profile import INSTANT, STRICT
from sandbox.server import create_app
from tests.sandbox.conftest import Client, Start, refusal, served


def test_a_missing_or_unknown_token_answers_401(client: Client) -> None:
    without = httpx.get(f"{client.sandbox.base_url}{client.indexes}")
    unknown = client.http.get(client.indexes, headers={"authorization": "Bearer x"})

    assert (401, 10000) == refusal(without) == refusal(unknown)


@pytest.mark.fault("F18")
@pytest.mark.parametrize("header", ["Bearer", "Basic x", "Bearer a b", 'Bearer "x"', "x"])
def test_a_header_that_holds_no_token_answers_6003(client: Client, header: str) -> None:
    answer = client.http.get(client.indexes, headers={"authorization": header})

    assert refusal(answer) == (400, 6003)
    assert answer.json()["errors"][0]["message"] == "Invalid request headers"


def test_another_account_answers_403_and_a_malformed_one_7003(client: Client) -> None:
    other = client.http.get(f"/accounts/{'0' * 32}/vectorize/v2/indexes")
    malformed = client.http.get("/accounts/me/vectorize/v2/indexes")

    assert refusal(other) == (403, 10000)
    assert refusal(malformed) == (404, 7003)


def test_a_token_without_prefix_verifies_at_both_endpoints(client: Client) -> None:
    account = f"/accounts/{client.sandbox.account_id}"

    for path in ("/user/tokens/verify", f"{account}/tokens/verify"):
        assert client.result(client.http.get(path))["status"] == "active"


@pytest.mark.parametrize("path", ["/docs/get-by-ids", "/docs/delete-by-ids", "/docs/nothing"])
def test_unknown_paths_and_the_hyphens_of_version_1_answer_404(client: Client, path: str) -> None:
    assert refusal(client.http.post(client.indexes + path, json={"ids": ["a"]})) == (404, 7003)


def test_a_path_of_version_1_answers_incorrect_api_version(client: Client) -> None:
    answer = client.http.get(client.docs.replace("/v2", ""))

    assert refusal(answer)[1] == 1010
    assert "incorrect_api_version" in answer.text


@pytest.mark.parametrize("profile", [INSTANT, STRICT], ids=lambda profile: profile.name)
def test_the_budget_is_shared_and_its_lockout_refuses_everything(
    start: Start, profile: object
) -> None:
    """Request n passes, n + 1 does not, and nothing does until the lockout ends."""
    profile = replace(STRICT if profile is STRICT else INSTANT, requests_per_5min=4)
    client = start(profile)

    for path in (client.indexes, client.namespaces) * 2:
        assert client.http.get(path).status_code == 200
    locked = client.http.get(client.namespaces)
    assert refusal(locked) == (429, 971)
    assert profile.retry_after_header == ("retry-after" in locked.headers)
    client.clock.advance(299)
    assert refusal(client.http.get(client.indexes)) == (429, 10429)
    client.clock.advance(1)
    assert client.http.get(client.indexes).status_code == 200


@pytest.mark.slow
def test_the_budget_can_be_set_from_outside(tmp_path: Path) -> None:
    with served(tmp_path / "state", "--requests-per-5min", "2") as (_, told):
        url = f"{told['base_url']}/user/tokens/verify"
        headers = {"authorization": f"Bearer {told['api_token']}"}
        statuses = [httpx.get(url, headers=headers).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]


def test_the_window_slides(start: Start) -> None:
    client = start(replace(INSTANT, requests_per_5min=2))

    for _ in range(4):
        assert client.http.get(client.indexes).status_code == 200
        client.clock.advance(150)


def test_vectorize_answers_carry_rate_headers_that_do_not_track(client: Client) -> None:
    answers = [client.http.get(client.indexes) for _ in range(2)]
    of_kv = client.http.get(client.namespaces)

    assert {'"default";r=1199;t=1'} == {answer.headers["ratelimit"] for answer in answers}
    assert answers[0].headers["ratelimit-policy"] == '"default";q=1200;w=300'
    assert "ratelimit" not in of_kv.headers


def test_every_request_is_on_record_with_the_digest_of_its_body(client: Client) -> None:
    body = b'{"ids": ["a"]}'
    client.http.post(f"{client.docs}/get_by_ids?x=1", content=body)

    record = client.sandbox.requests[-1]
    assert ("POST", "x=1", 200, len(body)) == (
        record.method,
        record.query,
        record.status,
        record.body_bytes,
    )
    assert record.parameters == {"x": "1"}
    assert record.path.endswith("/docs/get_by_ids")
    assert len(record.body_sha256) == 64


ODD_BODIES = [
    ("POST", "{docs}/query", {"vector": [1] * 32, "returnMetadata": []}),
    ("POST", "{docs}/query", {"vectorId": {}}),
    ("POST", "{docs}/query", {"vector": [1] * 32, "filter": {"k": {"$in": [[]]}}}),
    ("POST", "{docs}/get_by_ids", {"ids": [1]}),
    ("POST", "{docs}/delete_by_ids", {"ids": None}),
    ("POST", "{docs}/metadata_index/create", {"propertyName": "", "indexType": "string"}),
    ("POST", "{docs}/metadata_index/create", {"propertyName": "p", "indexType": []}),
    ("POST", "{docs}/metadata_index/delete", {"propertyName": "absent"}),
    ("POST", "{indexes}", {"name": "n", "config": {"preset": {}}}),
    ("POST", "{indexes}", {"name": "n", "config": {"dimensions": True, "metric": []}}),
    ("POST", "{indexes}", []),
    ("GET", "{docs}/list?count=" + "9" * 5_000, None),
    ("GET", "{docs}/list?count=5&cursor=e30=", None),
    ("POST", "{namespaces}", {"title": 1}),
    ("GET", "{kv}/keys?limit=" + "9" * 5_000, None),
    ("GET", "{kv}/keys?cursor=%F0", None),
    ("POST", "{kv}/bulk/get", {"keys": ["k"], "type": {}}),
    ("POST", "{kv}/bulk/get", {"keys": [None]}),
    ("PUT", "{kv}/bulk", {"key": "k", "value": "v"}),
    ("PUT", "{kv}/bulk", [{"key": "k", "value": "v", "expiration": 2**63}]),
    ("PUT", "{kv}/values/k?expiration=" + "9" * 5_000, None),
    ("POST", "{kv}/bulk/delete", [{"name": []}]),
]


@pytest.mark.parametrize(("method", "path", "body"), ODD_BODIES, ids=lambda part: str(part)[:60])
def test_odd_requests_are_refused_and_break_nothing(
    client: Client, method: str, path: str, body: object
) -> None:
    url = path.format(**vars(client))
    answer = client.http.request(method, url, json=body)

    assert refusal(answer)[0] == 400


def test_the_app_answers_inside_a_test_without_a_socket(tmp_path: Path) -> None:
    app = create_app(tmp_path / "state")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as http:
            headers = {"authorization": f"Bearer {API_TOKEN}"}
            return await http.get("/client/v4/user/tokens/verify", headers=headers)

    with closing(app):
        assert asyncio.run(ask()).json()["result"]["status"] == "active"
