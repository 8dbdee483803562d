"""A scheduler and a worker of Dask over tls://, started as docs/executors.md says."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import orjson
import psutil  # type: ignore[import-untyped]
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from distributed import Client, Security

from migrate.errors import ExitCode
from tests.e2e.processes import wait_until
from tests.harness.fakes.object_stores import CREDENTIALS, s3_server
from tests.harness.running.workbench import API_KEY, Workbench, points, workbench
from tests.harness.running.workspace import Result, ending, start_here

pytestmark = pytest.mark.slow

START_S = 120  # of a scheduler and a worker on a busy machine
TLS = "DASK_DISTRIBUTED__COMM__TLS__"
POINTS = 400
PROGRAM = """
from migrate.snapshot.begun import state
state._PART_ROWS_MAX = 100
from q2v.__main__ import run
run()
"""
# What a worker sees that was installed without q2v.
WITHOUT_Q2V = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "q2v":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Hidden())
"""


class Authority:
    """Signs certificates; each lies beside its key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self.file = self._write("authority", self._name, self._key.public_key())

    def _write(self, name: str, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> Path:
        is_authority = subject == self._name
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(self._key, SHA256())
        )
        file = self._folder / f"{name}.pem"
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        return file

    def sign(self, name: str) -> tuple[Path, Path]:
        """A certificate of this name, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = self._folder / f"{name}.key"
        own.touch(0o600)
        own.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return self._write(name, subject, key.public_key()), own


def certificates(authority: Path, role: str, shown: tuple[Path, Path]) -> dict[str, str]:
    """Dask's settings for one of scheduler, worker, client."""
    return {
        f"{TLS}CA_FILE": str(authority),
        f"{TLS}{role}__CERT": str(shown[0]),
        f"{TLS}{role}__KEY": str(shown[1]),
    }


@dataclass
class Cluster:
    """A scheduler, a worker, and what drivers need."""

    authority: Authority
    stranger: Authority
    bench: Workbench
    address: str
    programs: list[subprocess.Popen[str]]

    def driver_settings(self) -> dict[str, str]:
        return certificates(self.authority.file, "CLIENT", self.authority.sign("driver"))

    def snapshot(self, store: str, local: Path, settings: Mapping[str, str]) -> Result:
        """What the driver says with these settings of Dask."""
        place = ["--dir", store, "--local", str(local), "--json"]
        words = ["snapshot", *place, "--executor", "dask", "--scheduler", self.address]
        environment = {**self.bench.environment, **CREDENTIALS, **settings}
        output = (subprocess.PIPE, subprocess.PIPE)
        process = start_here("-c", PROGRAM, *words, environment=environment, output=output)
        stdout, stderr = process.communicate()
        return Result(process.returncode, stdout, stderr)


@contextmanager
def scheduler(folder: Path, authority: Authority) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its address."""
    file = folder / "scheduler.json"
    with ending(
        start_here(
            *("-m", "dask", "scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0"),
            *("--no-dashboard", "--dashboard-address", "127.0.0.1:0"),
            *("--scheduler-file", str(file)),
            environment=certificates(authority.file, "SCHEDULER", authority.sign("scheduler")),
            output=(subprocess.DEVNULL, subprocess.DEVNULL),
        )
    ) as process:
        wait_until(process, lambda: file.exists() and file.read_bytes().endswith(b"}"))
        yield orjson.loads(file.read_bytes())["address"], process


@contextmanager
def worker(
    address: str, authority: Authority, environment: Mapping[str, str], *words: str
) -> Iterator[subprocess.Popen[str]]:
    """A worker that the scheduler knows; it ends with all its processes."""
    settings = certificates(authority.file, "WORKER", authority.sign("worker"))
    process = start_here(
        *("-m", "dask", "worker", address, "--host", "127.0.0.1", "--nthreads", "1"),
        *("--no-dashboard", "--dashboard-address", "127.0.0.1:0", *words),
        environment={**environment, **settings, "MALLOC_TRIM_THRESHOLD_": str(2**30)},
        output=(subprocess.DEVNULL, subprocess.DEVNULL),
    )
    with ending(process):
        shown = authority.sign("looking")
        security = Security(  # type: ignore[no-untyped-call]
            tls_ca_file=str(authority.file),
            tls_client_cert=str(shown[0]),
            tls_client_key=str(shown[1]),
        )
        with Client(address, security=security, timeout=START_S) as looking:  # type: ignore[no-untyped-call]
            looking.wait_for_workers(1, timeout=START_S)
        children = psutil.Process(process.pid).children(recursive=True)
        try:
            yield process
        finally:
            for child in children:
                child.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(folder / "authority"), Authority(folder / "stranger")
    with ExitStack() as stack:
        bench = stack.enter_context(workbench(folder, points(POINTS), provision=False))
        address, ours = stack.enter_context(scheduler(folder, authority))
        environment = {**bench.environment, **CREDENTIALS}
        process = stack.enter_context(worker(address, authority, environment))
        yield Cluster(authority, stranger, bench, address, [ours, process])


@pytest.fixture
def store() -> Iterator[str]:
    with s3_server() as address:
        yield address


def listening(programs: list[subprocess.Popen[str]]) -> set[str]:
    """The addresses at which these programs and those that they started listen."""
    started = [psutil.Process(program.pid) for program in programs]
    every = [*started, *(child for one in started for child in one.children(recursive=True))]
    return {
        connection.laddr.ip
        for process in every
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_the_root_over_tls_is_that_of_this_machine(
    cluster: Cluster, store: str, tmp_path: Path
) -> None:
    local = cluster.bench.run_process("snapshot", program=PROGRAM).document

    result = cluster.snapshot(store, tmp_path, cluster.driver_settings())

    assert cluster.address.startswith("tls://127.0.0.1:")
    assert result.exit_code == 0, result.stderr
    assert result.document["content_root"] == local["content_root"]
    assert result.document["parts"] == POINTS // 100
    assert "MALLOC_TRIM_THRESHOLD_" not in result.stderr, "the worker was started as we say"
    found = listening(cluster.programs)
    assert found
    assert {one for one in found if not ip_address(one).is_loopback} == set()


def test_a_driver_without_a_certificate_is_refused_before_it_asks(
    cluster: Cluster, store: str, tmp_path: Path
) -> None:
    result = cluster.snapshot(store, tmp_path, {f"{TLS}CA_FILE": str(cluster.authority.file)})

    assert result.exit_code == ExitCode.USAGE, result.stderr
    assert "found no certificate of this command" in result.document["error"]["what"]
    assert f"{TLS}CLIENT__CERT" in str(result.document["error"])


@pytest.mark.parametrize("trusted", ["the cluster's authority", "another authority"])
def test_a_certificate_of_another_authority_is_refused(
    cluster: Cluster, store: str, tmp_path: Path, trusted: str
) -> None:
    """The scheduler refuses the driver's certificate; the driver refuses the scheduler's."""
    if trusted == "another authority":
        authority, shown = cluster.stranger.file, cluster.authority.sign("driver")
    else:
        authority, shown = cluster.authority.file, cluster.stranger.sign("driver")

    result = cluster.snapshot(store, tmp_path, certificates(authority, "CLIENT", shown))

    assert result.exit_code == ExitCode.ACCESS, result.stderr
    assert f"{TLS}CA_FILE" in str(result.document["error"])
    assert API_KEY not in result.stdout + result.stderr


def test_a_worker_without_q2v_is_named(cluster: Cluster, store: str, tmp_path: Path) -> None:
    hides = tmp_path / "hides.py"
    hides.write_text(WITHOUT_Q2V)
    environment = {**cluster.bench.environment, **CREDENTIALS}
    with ExitStack() as stack:
        address, _ = stack.enter_context(scheduler(tmp_path, cluster.authority))
        words = ("--preload", str(hides))
        stack.enter_context(worker(address, cluster.authority, environment, *words))
        other = Cluster(cluster.authority, cluster.stranger, cluster.bench, address, [])
        result = other.snapshot(store, tmp_path, cluster.driver_settings())

    assert result.exit_code == ExitCode.PRECONDITION, result.stderr
    assert "cannot load q2v" in result.document["error"]["what"]
