"""Who may read the ranges of a snapshot, and that no secret leaves with a task."""

import os
import pickle
import threading
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dask
import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode, PreconditionError, RemoteUnavailableError, UsageError
from migrate.snapshot.take import SnapshotOptions
from migrate.snapshot.tasks import ExecutorReader
from migrate.storage.local_folder import LocalFolder
from migrate.workers.executors import Machines, Scheduler, TaskExecutor, check_one_version
from migrate.workers.processes import no_preparation
from q2v.executors.options import choose_executor
from q2v.main import cli
from q2v.secret_files import SecretPlace
from q2v.settings import Settings
from q2v.settings.sections import SourceSettings
from q2v.workers import ReaderOpening
from tests.harness.fakes.memory_source import SPEC
from tests.harness.fakes.object_stores import CREDENTIALS, objects_in_memory
from tests.harness.fakes.silence import Silence
from tests.harness.running.workspace import target_settings

KEY = "key-of-a-source-1f3d5b79"


def executor(losses: tuple[type[Exception], ...] = ()) -> TaskExecutor:
    return TaskExecutor(ThreadPoolExecutor(2), no_preparation, losses)


def double(task: int) -> int:
    return 2 * task


def fail(task: type[Exception]) -> int:
    raise task("in the task")


def test_a_task_gives_its_result_and_its_error() -> None:
    tasks = executor()

    assert tasks.run(double, 21) == 42
    with pytest.raises(KeyError):
        tasks.run(fail, KeyError)


@pytest.mark.parametrize("loss", [LookupError, OSError])
def test_a_lost_machine_is_unavailable_with_advice(loss: type[Exception]) -> None:
    with pytest.raises(RemoteUnavailableError, match=loss.__name__) as caught:
        executor((LookupError,)).run(fail, loss)

    assert "it resumes" in caught.value.remedy


def test_after_a_cancel_nothing_is_begun() -> None:
    tasks = executor()
    tasks.cancel()

    with pytest.raises(RemoteUnavailableError):
        tasks.run(double, 1)


def test_what_is_done_before_the_first_task_is_done_once_in_a_process() -> None:
    calls: list[int] = []
    pool = ThreadPoolExecutor(1)
    tasks = TaskExecutor(pool, partial(calls.append, os.getpid()))
    # Another test of this process may have been first.
    for number in range(3):
        tasks.run(double, number)

    assert len(calls) <= 1


def test_two_versions_of_q2v_do_not_read_one_snapshot() -> None:
    check_one_version(["q2v 1", "q2v 1"], "q2v 1")
    with pytest.raises(PreconditionError, match=r"q2v 2; this command is q2v 1"):
        check_one_version(["q2v 1", "q2v 2"], "q2v 1")


def settings() -> Settings:
    place = SecretPlace(
        key="source.api_key", kind="environment", place="QDRANT_API_KEY", named_by="a test"
    )
    source = SourceSettings(url="http://127.0.0.1:6333", collection="chunks", api_key=place)
    return Settings(source=source)


def test_no_task_of_another_machine_has_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    with objects_in_memory(tmp_path) as folder:
        tasks = executor()
        opening = ReaderOpening(
            settings=settings(),
            options=SnapshotOptions(),
            progress=Silence(),
            machines=Machines(tasks, 4),
        )
        with opening(folder, (SPEC,), 100) as readers:
            (reader,) = set(readers)
            assert isinstance(reader, ExecutorReader)
            job = reader.job

    assert KEY.encode() not in pickle.dumps(job)
    assert job.load_key is not None
    assert job.load_key() == KEY


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--executor", "dask"], "expected one that every worker reaches"),
        (["--scheduler", "tls://host:8786"], "no effect"),
        (["--executor", "slurm"], "is not one of"),
        (
            ["--dir", "s3://bucket/dir", "--executor", "dask", "--scheduler", "tcp://host:8786"],
            "found no TLS",
        ),
        (["--dir", "s3://bucket/dir", "--executor", "dask"], "DASK_SCHEDULER_ADDRESS"),
        *(
            (
                ["--dir", "s3://bucket/dir", "--executor", "dask", "--scheduler", address],
                "found no address of a scheduler",
            )
            for address in ("tcp://127.0.0.1", "udp://127.0.0.1:1", "tls://:8786", "tcp://[:1")
        ),
        (["--dir", "s3://bucket/dir", "--executor", "ray"], "found no Ray"),
    ],
)
def test_what_workers_cannot_do_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"QDRANT_URL": "http://127.0.0.1:9", "QDRANT_COLLECTION": "chunks"}

    result = CliRunner().invoke(cli, ["snapshot", *words], env=environment)

    assert result.exit_code == ExitCode.USAGE
    assert says in result.stderr.replace("\n  ", " ")


@pytest.mark.parametrize("command", ["migrate", "runbook", "plan", "parity"])
def test_an_address_is_checked_before_the_target_and_the_store_are_asked(command: str) -> None:
    environment = {
        "QDRANT_URL": "http://127.0.0.1:9",
        "QDRANT_COLLECTION": "chunks",
        **target_settings("http://127.0.0.1:9", "0" * 32, "token"),
        **CREDENTIALS,
    }
    store = "s3://bucket/dir?endpoint=http://127.0.0.1:9"

    words = [command, "--dir", store, "--executor", "dask"]
    for more in ([], ["--scheduler", "tcp://127.0.0.1:99999"]):
        result = CliRunner().invoke(cli, [*words, *more], env=environment)

        assert result.exit_code == ExitCode.USAGE, result.stderr
        assert result.stderr.startswith("q2v: --"), result.stderr


def test_a_scheduler_that_has_gone_is_named_in_place_of_the_workers() -> None:
    pool, gone = ThreadPoolExecutor(1), threading.Event()
    tasks = TaskExecutor(
        pool, no_preparation, (LookupError,), scheduler=Scheduler("the scheduler", gone.is_set)
    )
    with pytest.raises(RemoteUnavailableError, match=r"no worker could finish"):
        tasks.run(fail, LookupError)
    with pytest.raises(RemoteUnavailableError, match=r"^the scheduler has gone$"):
        tasks.run(fail, CancelledError)
    gone.set()
    with pytest.raises(RemoteUnavailableError, match=r"^the scheduler has gone$") as caught:
        tasks.run(double, 1)
    assert caught.value.remedy.startswith("start it, then run the same command again")


def test_a_task_without_workers_for_long_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrate.workers.executors.LOOK_S", 0.01)
    never: Future[Any] = Future()
    looks = iter([False, True, *([False] * 10)])
    scheduler = Scheduler("the scheduler", lambda: False, has_workers=lambda: next(looks))
    executor = SimpleNamespace(submit=lambda *_: never)
    tasks = TaskExecutor(cast("Executor", executor), no_preparation, scheduler=scheduler)

    with pytest.raises(
        RemoteUnavailableError, match=r"^the scheduler has had no workers"
    ) as caught:
        tasks.run(double, 1)

    assert "run the same command again" in caught.value.remedy
    assert never.cancelled()
    assert list(looks) == []  # one worker in between, and the looks are counted from there


def test_a_scheduler_that_goes_while_it_is_asked_for_workers_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loss of the connection may be known a moment later."""
    monkeypatch.setattr("migrate.workers.executors.LOOK_S", 0.01)

    def ask() -> bool:
        raise ConnectionResetError

    executor = SimpleNamespace(submit=lambda *_: Future())
    scheduler = Scheduler("the scheduler", lambda: False, has_workers=ask)
    tasks = TaskExecutor(
        cast("Executor", executor), no_preparation, (ConnectionError,), scheduler=scheduler
    )

    with pytest.raises(RemoteUnavailableError, match=r"^the scheduler has gone$"):
        tasks.run(double, 1)


def test_a_scheduler_that_is_not_there_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("q2v.executors.dask_cluster.CONNECT_S", 1)
    with (
        objects_in_memory(tmp_path) as folder,
        pytest.raises(RemoteUnavailableError, match=r"no Dask scheduler answers"),
        choose_executor("dask", "tcp://127.0.0.1:9", folder, settings()).machines(Silence().say),
    ):
        pass


TLS = Path(__file__).parents[1] / "assets" / "tls"
GOOD, STRANGER = str(TLS / "good.pem"), str(TLS / "loopback.pem")


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({}, "found no certificate of this command"),
        ({"ca-file": str(TLS / "authority.pem")}, "found no certificate of this command"),
        ({"ca-file": "absent.pem", "client.cert": GOOD, "client.key": GOOD}, "No such file"),
        ({"ca-file": __file__, "client.cert": GOOD, "client.key": GOOD}, "cannot be used"),
        ({"ca-file": GOOD, "client.cert": GOOD, "client.key": STRANGER}, "mismatch"),
        ({"min-version": 0.9}, "min-version"),
    ],
    ids=["none", "no client", "absent", "no certificate", "another key", "version"],
)
def test_certificates_that_dask_cannot_use_are_refused_before_it_connects(
    tmp_path: Path, named: dict[str, object], says: str
) -> None:
    with (
        objects_in_memory(tmp_path) as folder,
        dask.config.set({f"distributed.comm.tls.{key}": value for key, value in named.items()}),
        pytest.raises(UsageError, match=says) as caught,
        choose_executor("dask", "tls://127.0.0.1:9", folder, settings()).machines(Silence().say),
    ):
        pass

    assert "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY" in caught.value.remedy


def test_a_folder_is_read_by_this_machine(tmp_path: Path) -> None:
    embedded = Settings(source=SourceSettings(path=tmp_path, collection="chunks"))
    with (
        objects_in_memory(tmp_path) as folder,
        pytest.raises(UsageError, match=r"found source\.path"),
    ):
        choose_executor("dask", "tcp://127.0.0.1:9", folder, embedded)
    chosen = choose_executor("local", None, LocalFolder(tmp_path), embedded)
    with chosen.machines(Silence().say) as machines:
        assert machines is None
