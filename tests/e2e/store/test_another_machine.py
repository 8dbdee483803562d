"""A snapshot that one machine sealed in a store is moved, proved and undone by another one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from migrate.storage.local_folder import local_file
from tests.harness.executors import BY_WORKERS, workers_here
from tests.harness.fakes.object_stores import CREDENTIALS, s3_server
from tests.harness.running.secrecy import assert_secret_absent
from tests.harness.running.workbench import API_TOKEN, Workbench, points, workbench
from tests.harness.running.workspace import Result

POINTS = 60


@dataclass
class Machine:
    """One machine: it shares the store with the others, and nothing else."""

    bench: Workbench
    store: str  # its address
    local: Path

    def run(self, *words: str) -> Result:
        place = ["--dir", self.store, "--local", str(self.local)]
        return self.bench.run_as_typed([*words, *place, "--json"])

    def done(self, *words: str) -> dict[str, object]:
        result = self.run(*words)
        assert result.exit_code == 0, result.stderr
        document: dict[str, object] = json.loads(result.stdout)
        return document


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with workbench(tmp_path, points(POINTS)) as bench:
        yield bench


@pytest.fixture
def store() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def machine(bench: Workbench, store: str, tmp_path: Path) -> Machine:
    return Machine(bench, store, tmp_path / "here")


LIVE = ("parity", "--live", "--sample", "20", "--at", "3")


def measured(machine: Machine, *words: str) -> dict[str, object]:
    """What the index answers, without the time and the place of the record."""
    document = machine.done(*LIVE, *words)
    return {key: value for key, value in document.items() if key not in {"at", "record"}}


def measured_by_workers(machine: Machine) -> dict[str, object]:
    """The same by an executor of the standard library, in the place of a cluster's."""
    with workers_here() as workers:
        found = measured(machine, *BY_WORKERS)
    assert workers.tasks
    return found


@pytest.mark.slow
def test_what_one_machine_seals_another_one_moves_proves_and_undoes(
    bench: Workbench, store: str, tmp_path: Path
) -> None:
    before = bench.state()
    taken = Machine(bench, store, tmp_path / "first").done("snapshot")
    # A local snapshot of the same points has the same root.
    local = bench.run("snapshot")
    assert taken["content_root"] == local.document["content_root"]
    other = Machine(bench, store, tmp_path / "second")

    assert other.done("verify")["content_root"] == taken["content_root"]
    moved = other.done("migrate", "--yes")
    assert moved["path"] == str(
        tmp_path / "second" / str(taken["snapshot_id"]) / "runs" / str(moved["run_id"])
    )
    assert len(bench.stored()) == POINTS
    assert other.done("reconcile")["verdict"] == "equal"
    assert measured_by_workers(other) == measured(other)
    assert other.done("status")["run_id"] == moved["run_id"]
    named = other.done("reconcile", str(moved["path"]))
    assert named["run_id"] == moved["run_id"]
    archived = other.done("archive", "--not-final")
    assert str(archived["path"]).startswith("s3://")
    assert Machine(bench, store, tmp_path / "third").done("verify", str(archived["path"]))
    other.done("rollback", "--execute", "--yes")

    assert bench.state() == before
    # The first machine has no run, and the second has no part.
    assert not list((tmp_path / "first").rglob("plan.json"))
    assert not list((tmp_path / "second").glob("*/parts"))


def planned(machine: Machine, snapshot_id: object, *words: str) -> dict[str, object]:
    """What a plan says, without the times that were measured."""
    document = machine.done("plan", str(snapshot_id), *words)
    measured = {"estimate", "route"}
    return {key: value for key, value in document.items() if key not in measured}


@pytest.mark.slow
def test_workers_map_what_is_planned_and_moved_and_get_no_secret(
    bench: Workbench, store: str, tmp_path: Path
) -> None:
    taken = Machine(bench, store, tmp_path / "first").done("snapshot")["snapshot_id"]
    other = Machine(bench, store, tmp_path / "second")
    here = planned(other, taken)
    saved = tmp_path / "saved.json"
    with workers_here() as workers:
        assert planned(other, taken, *BY_WORKERS) == here
        tasks = []
        for words in (
            ("plan", str(taken), "--out", str(saved)),
            ("runbook", str(taken)),
            ("migrate", str(saved), "--yes"),
        ):
            workers.tasks.clear()
            other.done(*words, *BY_WORKERS)
            assert workers.tasks, words
            tasks += workers.tasks
        workers.tasks.clear()
        other.done("migrate", "--yes", *BY_WORKERS)

    assert not workers.tasks, "a run that is there is not mapped again"
    assert len(bench.stored()) == POINTS
    assert other.done("reconcile")["verdict"] == "equal"
    for secret in (API_TOKEN, *CREDENTIALS.values()):
        assert_secret_absent(secret, texts=tasks)


@pytest.mark.parametrize("command", ["plan", "runbook"])
def test_workers_do_not_plan_a_source(machine: Machine, command: str) -> None:
    result = machine.run(command, *BY_WORKERS)

    assert result.exit_code == ExitCode.USAGE
    assert "found no snapshot, expected one" in result.stdout
    assert "`q2v snapshot --executor dask --" in result.stdout


@pytest.mark.parametrize("words", [("plan",), ("runbook",), ("parity",), ("migrate", "--yes")])
def test_workers_do_not_read_a_snapshot_on_a_disk(
    bench: Workbench, machine: Machine, words: tuple[str, ...]
) -> None:
    path = str(bench.run("snapshot").document["path"])
    command, *more = words
    with workers_here() as workers:
        result = machine.run(command, path, *more, *BY_WORKERS)

    assert (result.exit_code, workers.tasks) == (ExitCode.USAGE, [])
    assert "expected one that every worker reaches" in result.stdout


@pytest.mark.slow
def test_a_restore_reads_from_the_store(bench: Workbench, store: str, tmp_path: Path) -> None:
    taken = Machine(bench, store, tmp_path / "first").done("snapshot")

    other = Machine(bench, store, tmp_path / "second")
    bench.collection.is_missing = bench.collection.is_writable = True
    bench.collection.points = []
    by_id = other.done("restore", str(taken["snapshot_id"]), "--yes")
    by_address = other.done("restore", str(taken["path"]), "--yes")

    assert (by_id["written"], by_address["already_there"]) == (POINTS, POINTS)


@pytest.mark.slow
def test_advice_names_the_store_and_the_local_folder_and_works(machine: Machine) -> None:
    document = machine.done("snapshot")

    argv = document["next_argv"]
    assert isinstance(argv, list)
    assert "--local" in argv
    assert machine.bench.run_as_typed(argv[1:]).exit_code == 0


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://no-such-bucket/dir", "there is no such bucket"),
        ("s3://Bucket With Blanks/dir", "no plain name of a bucket"),
        ("s3://bucket/a/../b", "no plain path"),
        ("s3://user:secret@bucket/dir", "no plain name of a bucket"),
        ("s3://bucket/dir?endpoint=http://example.com", "http is for servers on this machine"),
        ("s3://bucket/dir?key=value", "found options key"),
    ],
)
def test_a_bad_address_is_refused_in_words(machine: Machine, address: str, says: str) -> None:
    query = machine.store.partition("?")[2]
    machine.store = address if "//no-such-bucket" not in address else f"{address}?{query}"
    result = machine.run("snapshot")

    assert (result.exit_code, says in result.stdout) == (ExitCode.USAGE, True), result.stdout


@pytest.mark.slow
def test_no_credential_gets_into_a_file_or_the_output(machine: Machine) -> None:
    results = [machine.run(*words) for words in (["snapshot"], ["migrate", "--yes"], ["verify"])]

    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
    for result in results:
        assert secret not in result.stdout + result.stderr
    assert_secret_absent(secret, [machine.local])
    assert local_file(machine.local / ".lock").is_there()
