"""The log of requests that a sandbox writes to a file when asked for one."""

import hashlib
import json
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.sandbox.conftest import served

pytestmark = pytest.mark.slow


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_every_answered_request_has_its_line_even_after_a_kill(tmp_path: Path) -> None:
    """Method, path, status, size and digest of the body; a restart goes on in the same file."""
    log = tmp_path / "requests.jsonl"
    for _ in range(2):
        with served(tmp_path / "state", "--log", str(log)) as (process, told):
            headers = {"authorization": f"Bearer {told['api_token']}"}
            account = f"{told['base_url']}/accounts/{told['account_id']}"
            with httpx.Client(headers=headers) as http:
                http.post(f"{account}/storage/kv/namespaces", content=b'{"title": "files"}')
                http.get(f"{account}/vectorize/v2/indexes/absent")
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    made, absent, made_again, _ = _lines(log)
    assert (made["method"], made["status"]) == ("POST", 200)
    assert str(made["path"]).endswith("/storage/kv/namespaces")
    assert made["body_bytes"] == len(b'{"title": "files"}')
    assert made["body_sha256"] == hashlib.sha256(b'{"title": "files"}').hexdigest()
    assert (absent["method"], absent["status"]) == ("GET", 404)
    assert made_again["status"] == 400


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["lost-answer:every=2", "reset:every=2"])
def test_a_request_without_an_answer_has_a_line_too(tmp_path: Path, fault: str) -> None:
    """Status 0: the connection was cut, whether or not the write was taken."""
    log = tmp_path / "requests.jsonl"
    with served(tmp_path / "state", "--log", str(log), "--fault", fault) as (_, told):
        headers = {"authorization": f"Bearer {told['api_token']}"}
        account = f"{told['base_url']}/accounts/{told['account_id']}"
        with httpx.Client(headers=headers) as http:
            made = http.post(f"{account}/storage/kv/namespaces", json={"title": "files"}).json()
            values = f"{account}/storage/kv/namespaces/{made['result']['id']}/values"
            statuses = []
            for key in ("a", "b", "c", "d"):
                try:
                    statuses.append(http.put(f"{values}/{key}", content=b"v").status_code)
                except httpx.TransportError:
                    statuses.append(0)

    assert statuses == [line["status"] for line in _lines(log)[1:]]
    assert 0 in statuses


@pytest.mark.slow
def test_nobody_else_reads_it_and_it_holds_no_token(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    with served(tmp_path / "state", "--log", str(log), "--token", "cfut_not-for-the-log") as (
        _,
        told,
    ):
        headers = {"authorization": "Bearer cfut_not-for-the-log"}
        httpx.get(f"{told['base_url']}/user/tokens/verify", headers=headers).raise_for_status()

    assert log.stat().st_mode & 0o777 == 0o600
    assert len(_lines(log)) == 1
    assert "not-for-the-log" not in log.read_text(encoding="utf-8")
