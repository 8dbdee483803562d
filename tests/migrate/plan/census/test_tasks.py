"""A run that workers have mapped is, byte for byte, that of one machine; no task has a secret."""

import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from migrate.begin import begin_run
from migrate.errors import ArtefactDamagedError
from migrate.mapping.rules import MappingRules, WriteRules
from migrate.mapping.shards import Shards
from migrate.mapping.transforms.rules import Rename
from migrate.migrate import WriteOptions, migrate
from migrate.model.hmac_key import SealKey
from migrate.plan.rules import PlanRules
from migrate.ports import Target
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import take_difference
from migrate.snapshot.folder import Snapshot, part_file, sealed_folders
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from migrate.upload.settle import SettleRules
from migrate.workers.executors import Machines, OpenMachines, TaskExecutor, this_machine
from migrate.workers.processes import no_preparation
from tests.harness.executors import Noting
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.memory_target import MemoryKv, MemoryVectors
from tests.harness.fakes.silence import Silence
from tests.harness.strategies import RULES

POINTS = 230
DIMENSIONS = 32  # the fewest that a target takes
KEY = "seal-key-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
OPTIONS = SnapshotOptions(page_points=30, part_points=40, seal_key=SealKey(KEY))
MAPPING = replace(RULES, transforms=(Rename(("text",), "body"),))
OF_TWO = replace(MAPPING, shards=Shards(("memory", "other"), own="memory"))


def rules(mapping: MappingRules) -> PlanRules:
    return PlanRules(
        mapping=mapping,
        writes=WriteRules(
            vectors_per_upload=70, body_bytes=10**6, counter_key="_count", ttl_s=None
        ),
        max_quarantine=30,
        max_delete=1,
        digests_rows=True,
    )


@dataclass
class Past:
    """A moved snapshot, and a difference to it with points added, replaced and deleted."""

    folder: Path
    vectors: MemoryVectors
    kv: MemoryKv
    clock: VirtualClock

    def runtime(self) -> Runtime:
        return Runtime(clock=self.clock, progress=Silence())

    def newest(self, folder: Path) -> Snapshot:
        return Snapshot(sealed_folders(LocalFolder(folder))[-1], OPTIONS.seal_key)

    def copy(self, folder: Path) -> "Past":
        """The same at the same moment, in another place."""
        shutil.copytree(self.folder, folder)
        other = Past(folder, MemoryVectors(dimensions=DIMENSIONS), MemoryKv(), VirtualClock())
        other.vectors.continue_from(self.vectors)
        other.kv.stored = dict(self.kv.stored)
        other.clock.wait(self.clock.monotonic_s())
        return other

    def begin(
        self, mapping: MappingRules, open_machines: OpenMachines = this_machine
    ) -> dict[str, bytes]:
        """Every file of the run of the newest snapshot, before its first write to the target."""
        target = Target(self.vectors, self.kv)
        with closing(
            begin_run(
                self.newest(self.folder),
                target,
                rules(mapping),
                self.runtime(),
                open_machines=open_machines,
            )
        ) as run:
            found = Path(str(run.folder))
            return {
                str(one.relative_to(found)): one.read_bytes()
                for one in sorted(found.rglob("*"))
                if one.is_file()
            }

    def move(self, mapping: MappingRules) -> None:
        target = Target(self.vectors, self.kv)
        with closing(
            begin_run(self.newest(self.folder), target, rules(mapping), self.runtime())
        ) as run:
            settle = SettleRules(timeout_s=60, poll_s=1)
            migrate(run, target, WriteOptions(settle=settle), self.runtime())


def payloads() -> dict[int, dict[str, object]]:
    """Chunks of which some cannot move: no file, an id that others have, equal ones."""
    points = chunk_payloads(POINTS)
    numbers = sorted(points)
    for number in numbers[50:200:40]:
        points[number] = {**points[number], "file_id": 5}
    points[numbers[120]] = {**points[numbers[120]], "chunk_index": 0}
    points[numbers[3] + 97 * 13 * 10] = {**points[numbers[3]]}
    return points


@pytest.fixture(scope="module", params=[MAPPING, OF_TWO], ids=["one index", "one of two"])
def mapping(request: pytest.FixtureRequest) -> MappingRules:
    found: MappingRules = request.param
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A snapshot of several parts that no run has moved yet."""
    folder = tmp_path_factory.mktemp("whole") / "of"
    past = Past(folder, MemoryVectors(dimensions=DIMENSIONS), MemoryKv(), VirtualClock())
    source = MemorySource(payloads(), dimensions=DIMENSIONS)
    take_snapshot(source, LocalFolder(folder), OPTIONS, past.runtime())
    return past


@pytest.fixture(scope="module")
def chain(mapping: MappingRules, tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A difference to a snapshot that was moved."""
    folder = tmp_path_factory.mktemp("chain") / "of"
    past = Past(folder, MemoryVectors(dimensions=DIMENSIONS), MemoryKv(), VirtualClock())
    source = MemorySource(payloads(), dimensions=DIMENSIONS)
    take_snapshot(source, LocalFolder(folder), OPTIONS, past.runtime())
    past.move(mapping)
    numbers = sorted(source.points)
    for number in numbers[10:60:7]:
        del source.points[number]
    for number in numbers[100:140]:
        source.points[number] = {**source.points[number], "shift": 7}
    for number in range(5):
        source.points[10**6 + number] = {**source.points[numbers[200]], "chunk_index": 90 + number}
    past.clock.wait(1)
    take_difference(source, past.newest(folder), OPTIONS, past.runtime())
    return past


@pytest.fixture(scope="module", params=["threads", "processes"])
def workers(request: pytest.FixtureRequest) -> Iterator[Noting]:
    pool: Executor = (
        ThreadPoolExecutor(2)
        if request.param == "threads"
        else ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    )
    with pool:
        yield Noting(pool)


def opening(workers: Noting) -> OpenMachines:
    @contextmanager
    def open_machines() -> Iterator[Machines]:
        yield Machines(TaskExecutor(workers, no_preparation), 4)

    def call() -> AbstractContextManager[Machines]:
        return open_machines()

    return call


@pytest.mark.slow
def test_a_run_that_workers_mapped_is_that_of_one_machine(
    whole: Past, mapping: MappingRules, workers: Noting, tmp_path: Path
) -> None:
    workers.tasks.clear()
    here = whole.copy(tmp_path / "here" / "of").begin(mapping)
    there = whole.copy(tmp_path / "there" / "of").begin(mapping, opening(workers))

    assert {"plan.json", "targets.parquet", "quarantine.jsonl"} <= here.keys()
    assert here["quarantine.jsonl"].count(b"\n") >= 2
    assert there == here
    assert len(workers.tasks) == len(whole.newest(whole.folder).manifest.parts) > 3


@pytest.mark.slow
def test_a_catch_up_that_workers_mapped_is_that_of_one_machine(
    chain: Past, mapping: MappingRules, workers: Noting, tmp_path: Path
) -> None:
    here = chain.copy(tmp_path / "here" / "of").begin(mapping)
    there = chain.copy(tmp_path / "there" / "of").begin(mapping, opening(workers))

    assert {"plan.json", "targets.parquet", "difference.parquet"} <= here.keys()
    assert there == here


def test_no_task_has_a_key_a_payload_or_a_vector(whole: Past, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        workers = Noting(pool)
        whole.copy(tmp_path / "of").begin(MAPPING, opening(workers))

    assert workers.tasks
    for task in workers.tasks:
        assert KEY.encode() not in task
        assert b"text 1" not in task
        assert len(task) < 5_000


@pytest.mark.slow
def test_a_part_that_was_changed_ends_the_plan(
    whole: Past, workers: Noting, tmp_path: Path
) -> None:
    past = whole.copy(tmp_path / "of")
    snapshot = past.newest(past.folder)
    file = Path(str(part_file(snapshot.folder, snapshot.manifest.parts[2])))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

    with pytest.raises(ArtefactDamagedError, match="part-00002"):
        past.begin(MAPPING, opening(workers))
    assert not list(past.folder.rglob("plan.json"))
