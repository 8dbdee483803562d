"""Workers and accounts, as far as wrangler's commands around a migration ask for them."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.server import running_sandbox
from tests.sandbox.conftest import Client, refusal

pytestmark = pytest.mark.fault("F16")

CODE = {"worker.js": ("worker.js", b"export default {}", "application/javascript+module")}


@pytest.fixture
def worker(client: Client) -> str:
    """The path of one that was uploaded twice."""
    path = f"/accounts/{client.sandbox.account_id}/workers/scripts/reader"
    for _ in range(2):
        client.result(client.http.put(path, files=CODE))
    return path


def deployments(client: Client, worker: str) -> Any:
    return client.result(client.http.get(f"{worker}/deployments"))["deployments"]


def deploy(client: Client, worker: str, version_id: str, **options: Any) -> httpx.Response:
    body = {
        "strategy": "percentage",
        "versions": [{"version_id": version_id, "percentage": 100}],
        "annotations": {"workers/message": "back"},
    }
    return client.http.post(f"{worker}/deployments", json=body, **options)


def test_an_absent_worker_answers_10007(client: Client) -> None:
    path = f"/accounts/{client.sandbox.account_id}/workers/scripts/absent"
    secret = {"name": "A", "text": "b", "type": "secret_text"}

    assert refusal(client.http.put(f"{path}/secrets", json=secret)) == (404, 10007)
    assert refusal(client.http.get(f"{path}/deployments")) == (404, 10007)


def test_each_upload_is_deployed_and_a_former_version_can_be(client: Client, worker: str) -> None:
    newest, former = deployments(client, worker)
    version_id = former["versions"][0]["version_id"]
    client.result(deploy(client, worker, version_id))
    now = deployments(client, worker)

    assert newest["versions"] != former["versions"]
    assert now[0]["versions"] == [{"version_id": version_id, "percentage": 100}]
    assert now[0]["annotations"]["workers/message"] == "back"
    assert client.result(client.http.get(f"{worker}/versions/{version_id}"))["number"] == 1
    assert refusal(deploy(client, worker, "absent"))[0] == 404


def test_a_secret_is_a_version_and_its_text_is_not_kept(
    client: Client, worker: str, tmp_path: Path
) -> None:
    secret = {"name": "KEY", "text": "not to be found anywhere", "type": "secret_text"}
    client.result(client.http.put(f"{worker}/secrets", json=secret))
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    assert [one["name"] for one in client.result(client.http.get(f"{worker}/secrets"))] == ["KEY"]
    assert len(deployments(client, worker)) == 3
    assert b"not to be found" not in kept
    client.result(client.http.delete(f"{worker}/secrets/KEY"))
    assert client.result(client.http.get(f"{worker}/secrets")) == []


def test_a_version_with_other_secrets_needs_force(client: Client, worker: str) -> None:
    secret = {"name": "KEY", "text": "x", "type": "secret_text"}
    client.result(client.http.put(f"{worker}/secrets", json=secret))
    former = deployments(client, worker)[-1]["versions"][0]["version_id"]
    refused = deploy(client, worker, former)

    assert refusal(refused) == (400, 10220)
    assert refused.json()["errors"][0]["message"].endswith("KEY")
    client.result(deploy(client, worker, former, params={"force": "true"}))


@pytest.mark.parametrize(
    "body",
    [
        {"name": "-x", "text": "t", "type": "secret_text"},
        {"name": "A", "type": "secret_text"},
        {"name": "A", "text": "t", "type": "plain_text"},
        [],
    ],
    ids=str,
)
def test_what_is_no_secret_is_refused(client: Client, worker: str, body: Any) -> None:
    assert refusal(client.http.put(f"{worker}/secrets", json=body)) == (400, 10021)


@pytest.mark.parametrize("token", ["plain", "cfut_user", "cfat_account"])
def test_accounts_are_listed_and_users_only_for_tokens_of_theirs(
    tmp_path: Path, token: str
) -> None:
    with running_sandbox(tmp_path / "state", api_token=token) as sandbox:
        headers = {"authorization": f"Bearer {token}"}

        def get(path: str) -> httpx.Response:
            return httpx.get(f"{sandbox.base_url}{path}", headers=headers)

        accounts = Client.result(get("/accounts?page=1"))
        of_user = [get("/user"), get("/memberships")]

    assert [account["id"] for account in accounts] == [sandbox.account_id]
    if token == "cfat_account":
        assert [refusal(answer) for answer in of_user] == [(403, 9109)] * 2
    else:
        assert Client.result(of_user[1])[0]["account"]["id"] == sandbox.account_id
