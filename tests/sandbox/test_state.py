"""State on disk: private, held by one process, the same after a kill at any instant."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from sandbox.clock import ManualClock
from sandbox.database import StateFolderError
from sandbox.profile import INSTANT, STRICT
from sandbox.server import create_app, running_sandbox
from sandbox.store import SandboxStore
from tests.sandbox.conftest import DIMENSIONS, NDJSON, Client, line, served


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    """Pending writes, visible writes and entries: all there for the next process."""
    state = tmp_path / "state"
    with served(state, "--profile", "strict") as (process, told):
        headers = {"authorization": f"Bearer {told['api_token']}"}
        account = f"{told['base_url']}/accounts/{told['account_id']}"
        with httpx.Client(headers=headers) as http:
            index = {"name": "docs", "config": {"dimensions": DIMENSIONS, "metric": "cosine"}}
            http.post(f"{account}/vectorize/v2/indexes", json=index).raise_for_status()
            namespaces = f"{account}/storage/kv/namespaces"
            made = http.post(namespaces, json={"title": "files"}).json()["result"]
            body = "\n".join(line(str(number), number + 0.5) for number in range(300))
            upload = http.post(
                f"{account}/vectorize/v2/indexes/docs/upsert", content=body, headers=NDJSON
            ).json()["result"]
            http.put(f"{namespaces}/{made['id']}/values/k", content=b"v").raise_for_status()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    clock = ManualClock(0.0)
    store = SandboxStore(state, STRICT, clock)
    hidden = [len(list(store.read_vectors("docs"))), len(list(store.read_kv(made["id"])))]
    clock.advance(4e9)
    found = list(store.read_vectors("docs"))
    entries = list(store.read_kv(made["id"]))
    index_id = store.vectors.indexes.get("docs").index_id
    watermark = store.vectors.log.visible(index_id).mutation_id
    store.close()

    assert hidden == [0, 0]
    assert [float(one[1][0]) for one in found] == [
        number + 0.5 for number in sorted(range(300), key=str)
    ]
    assert entries == [("k", b"v", None, None)]
    assert watermark == upload["mutationId"]


def test_a_refused_or_cut_upload_leaves_nothing_behind(client: Client, tmp_path: Path) -> None:
    lines = [line(str(number)) for number in range(300)]
    client.upsert(*lines, "bad")
    client.result(client.upsert(line("a", 7.0)))

    assert [(one[0], one[1][0]) for one in client.sandbox.store.read_vectors("docs")] == [
        ("a", 7.0)
    ]
    assert client.info()["vectorCount"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_exit_code_0(tmp_path: Path, number: signal.Signals) -> None:
    with served(tmp_path / "state") as (process, told):
        assert set(told) == {"base_url", "account_id", "api_token"}
        assert told["base_url"].endswith("/client/v4")
        process.send_signal(number)

        assert process.wait(300) == 0


def test_files_and_folders_are_private(client: Client, tmp_path: Path) -> None:
    client.result(client.upsert(line("a")))
    paths = [tmp_path / "state", *(tmp_path / "state").rglob("*")]

    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in paths}
    assert len(paths) > 4
    assert modes == {True: 0o700, False: 0o600}
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with (
        running_sandbox(tmp_path / "state"),
        pytest.raises(StateFolderError, match="in use"),
    ):
        create_app(tmp_path / "state")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    store = SandboxStore(tmp_path, INSTANT, ManualClock())
    store.close()
    with closing(sqlite3.connect(tmp_path / "state.sqlite3")) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(StateFolderError, match="format 99"):
        SandboxStore(tmp_path, INSTANT, ManualClock())


def test_a_malformed_account_id_cannot_be_configured(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 hexadecimal"):
        create_app(tmp_path, account_id="me")
