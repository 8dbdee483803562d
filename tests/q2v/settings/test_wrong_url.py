"""A wrong source.url on the command line: exit code, words, and no line of a library's own."""

import json
import os
from functools import partial
from pathlib import Path

import pytest

from migrate.errors import UsageError
from migrate.snapshot.begun.state import Range
from migrate.snapshot.tasks import ReaderProcess, ReadJob
from migrate.storage.local_folder import LocalFolder
from q2v.output.logs import prepare_worker
from tests.harness.fakes.silence import Silence
from tests.harness.running.programs import run_python
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server

LIBRARY = ("ssl_transport_security", "chttp2", "handshaker", "E0000", ".cc:")


def stored() -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"}, points=[StoredPoint(1, {"": [1.0, 2.0]})]
    )


def snapshot(url: str, transport: str, folder: Path) -> tuple[int, dict[str, object], str]:
    """Exit code, the JSON document and stderr of `q2v snapshot`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("Q2V_", "QDRANT_", "GRPC_"))
    }
    options = ["--source-url", url, "--collection", "chunks", "--transport", transport]
    ended = run_python(
        *("-m", "q2v", "snapshot", "--json", "--dir", str(folder), *options),
        env=environment,
        cwd=folder,
        timeout_s=110,
    )
    return ended.returncode, json.loads(ended.stdout), ended.stderr


@pytest.mark.slow
@pytest.mark.fault("F25")
@pytest.mark.parametrize("transport", ["grpc", "rest", "auto"])
def test_https_to_a_plain_port_is_exit_2_without_lines_of_the_library(
    transport: str, tmp_path: Path
) -> None:
    with grpc_server(stored()) as server:
        url = f"https://127.0.0.1:{server.port}"
        code, document, stderr = snapshot(url, transport, tmp_path)

    assert code == 2
    assert "does not speak TLS" in json.dumps(document)
    assert not [line for line in stderr.splitlines() if any(sign in line for sign in LIBRARY)]


@pytest.mark.slow
@pytest.mark.fault("F25")
def test_rest_to_a_grpc_port_is_exit_2(tmp_path: Path) -> None:
    with grpc_server(stored()) as server:
        code, document, _ = snapshot(server.url, "rest", tmp_path)

    assert code == 2
    assert "speaks HTTP/2 (gRPC), expected HTTP/1.1" in json.dumps(document)


@pytest.mark.slow
@pytest.mark.fault("F25")
def test_a_worker_process_shows_no_lines_of_the_library(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "parts").mkdir()
    with rest_server(stored()) as server:
        job = ReadJob(
            folder=LocalFolder(tmp_path),
            vectors=(),
            url=f"https://127.0.0.1:{server.port}",
            collection="chunks",
            api_key=None,
            load_key=None,
            transport="grpc",
            compression="identity",
            ca_file=None,
            client=None,
            grpc_url=None,
            filter=None,
            page_points=10,
            second_reading="digest",
            leave_unreadable=False,
            recorded=True,
            moving=False,
        )
        with (
            ReaderProcess(job, Silence(), partial(prepare_worker, ())) as reader,
            pytest.raises(UsageError, match="does not speak TLS"),
        ):
            reader.write(Range(0, None, None))

    shown = capfd.readouterr().err
    assert not [line for line in shown.splitlines() if any(sign in line for sign in LIBRARY)]
