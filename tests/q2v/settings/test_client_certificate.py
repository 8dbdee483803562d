"""tls.client_cert_file and its key on the command line: who gets to see them, and which are not."""

import shutil
import ssl
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from migrate.clock import SystemClock
from migrate.errors import ExitCode
from migrate.storage.local_folder import LocalFolder
from q2v import wiring
from q2v.main import cli
from q2v.secret_files import SecretPlace
from q2v.settings import Settings
from q2v.settings.sections import TargetSettings, TlsSettings
from tests.harness.fakes.silence import Silence
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server

TLS = Path(__file__).parents[2] / "assets" / "tls"
AUTHORITY, GOOD = TLS / "authority.pem", TLS / "good.pem"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key that only its owner may read; the file has the certificate, too."""
    copy = tmp_path / "key.pem"
    shutil.copy(GOOD, copy)
    copy.chmod(0o600)
    return copy


def run(folder: Path, *words: str, **environment: str) -> Result:
    """A command against two servers, gRPC at an address of its own, that want a certificate."""
    collection = StoredCollection(
        vectors={"size": 2, "distance": "Dot"}, points=[StoredPoint(1, {"": [1.0, 2.0]})]
    )
    with (
        rest_server(collection, certificate=GOOD, client_authority=AUTHORITY) as rest,
        grpc_server(collection, certificate=GOOD, client_authority=AUTHORITY) as grpc,
    ):
        settings = {
            "QDRANT_URL": rest.url,
            "Q2V_SOURCE_GRPC_URL": grpc.url,
            "QDRANT_COLLECTION": collection.name,
            "Q2V_TLS_CA_FILE": str(AUTHORITY),
            **environment,
        }
        result = CliRunner().invoke(cli, [*words, "--dir", str(folder), "--json"], env=settings)
    protocols = {"rest": "/collections/chunks/points", "grpc": "/qdrant.Points/"}
    read = environment.get("Q2V_TRANSPORT", "grpc")
    other = next(sign for name, sign in protocols.items() if name != read)
    assert not [request for request in collection.requests if other in request]
    return result


@pytest.mark.fault("M19")
@pytest.mark.parametrize("transport", ["rest", "grpc", "auto"])
def test_both_files_serve_both_protocols(transport: str, key: Path, tmp_path: Path) -> None:
    result = run(
        tmp_path / "snapshots",
        "snapshot",
        Q2V_TRANSPORT=transport,
        Q2V_TLS_CLIENT_CERT_FILE=str(GOOD),
        Q2V_TLS_CLIENT_KEY_FILE=str(key),
    )

    assert result.exit_code == ExitCode.DONE, result.stdout


@pytest.mark.fault("M19")
def test_a_key_that_others_may_read_is_refused_with_the_command_that_helps(
    key: Path, tmp_path: Path
) -> None:
    key.chmod(0o644)
    result = run(
        tmp_path / "snapshots",
        "snapshot",
        Q2V_TLS_CLIENT_CERT_FILE=str(GOOD),
        Q2V_TLS_CLIENT_KEY_FILE=str(key),
    )

    assert result.exit_code == ExitCode.USAGE
    assert "tls.client_key_file" in result.stdout
    assert "its mode is 0644" in result.stdout
    assert f"chmod 600 {key}" in result.stdout


@pytest.mark.fault("M19")
@pytest.mark.parametrize("given", ["CERT", "KEY"])
def test_one_file_without_the_other_is_refused(given: str, key: Path, tmp_path: Path) -> None:
    result = run(tmp_path, "snapshot", **{f"Q2V_TLS_CLIENT_{given}_FILE": str(key)})

    assert result.exit_code == ExitCode.USAGE
    assert "expected both or neither" in result.stdout


@pytest.mark.fault("M19")
def test_cloudflare_does_not_get_to_see_the_certificate(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_TOKEN", "token-0123456789")
    token = SecretPlace(
        key="target.api_token", kind="environment", place="THE_TOKEN", named_by="THE_TOKEN"
    )
    settings = Settings(
        target=TargetSettings(account_id="a" * 32, api_token=token),
        tls=TlsSettings(client_cert_file=GOOD, client_key_file=key),
    )
    loaded: list[object] = []
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", lambda *given, **_: loaded.append(given))

    http, _, base_url = wiring.open_http(
        settings, LocalFolder(tmp_path), clock=SystemClock(), progress=Silence()
    )
    http.close()

    assert str(base_url.host) == "api.cloudflare.com"
    assert loaded == []
