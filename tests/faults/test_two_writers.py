"""Two machines move into one target at once: no lock prevents it, and no report hides it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from reconcile.report.report import ReconcileReport
from tests.faults.sweep import WRITES
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import Kind
from tests.harness.network import Trouble
from tests.harness.paths import path_of
from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.tiers import some_of_each, struck_at
from tests.harness.world import FILES, World, open_world

POINTS = 20


def _some_of_each(kinds: Sequence[str]) -> list[int]:
    return some_of_each(kinds, lambda kind: kind.endswith(WRITES))


@pytest.mark.slow
@pytest.mark.fault("G10", "R09")
@struck_at(_some_of_each)
def test_whenever_another_machine_writes_its_vectors_are_named_and_ours_are_there(
    tmp_path: Path, chosen: Callable[[Sequence[str]], list[int]]
) -> None:
    """The other one's whole migrate happens just before a request of ours."""
    with open_world(_empty(tmp_path / "alone"), points=POINTS) as alone:
        _take_snapshot(alone)
        with alone.calm() as steps:
            alone.migrate()
        kinds = [step.place for step in steps.done if step.kind is Kind.SEND]
    named = 0
    for at in chosen(kinds):
        with open_world(_empty(tmp_path / f"ours-{at}"), points=POINTS) as ours:
            theirs = _another_machine(ours, _empty(tmp_path / f"theirs-{at}"))
            _take_snapshot(ours)
            _take_snapshot(theirs)
            assert _migrate_with(ours, theirs, at)

            report = _reconcile(ours)
            held = {vector_id for vector_id, *_ in ours.app.store.read_vectors(INDEX)}
            our_ids, their_ids = _ids(ours), _ids(theirs)
            assert held >= our_ids | their_ids, "neither has lost a vector to the other"
            assert not report.drift["missing"]
            assert not report.drift["mismatched"]
            extra = set(path_of(report.files["extra"]).read_text().split())
            # Either they were there before our first write, and count as somebody else's, or
            # every single one of them is named.
            assert extra in (set(), their_ids), f"request {at}"
            assert report.verdict == ("drift" if extra else report.verdict)
            named += bool(extra)

            # The counter is one number for both: whoever wrote it last, the other one sees it.
            assert _reconcile(theirs).verdict == "drift", f"request {at}"
    assert named > 5, "most moments lie after our look at what was there"


@pytest.mark.fault("G10", "R09")
def test_a_rollback_takes_what_another_folder_has_written_with_equal_bytes(tmp_path: Path) -> None:
    """The same points, moved from two folders: equal bytes do not show who wrote them last."""
    with open_world(_empty(tmp_path / "first"), points=POINTS) as first:
        second = _another_folder(first, _empty(tmp_path / "second"))
        _take_snapshot(first)
        _take_snapshot(second)
        for vector_id in _held(first):  # those of a third writer, which have other bytes
            first.app.store.remove_vector(INDEX, vector_id)
        for key in ("file:file-0", first.counter_key):
            first.app.store.remove_kv(first.namespace_id, key)
        with first.calm():
            first.migrate()
            second.migrate()
        moved = _held(first)
        assert moved.keys() == _ids(second)

        with first.calm():
            undone = first.roll_back()
        assert not undone.conflicts, "equal bytes are no conflict"
        assert undone.vectors_deleted == len(moved)
        assert not _held(first), "what the second folder has written is gone too"

        report = _reconcile(second)
        assert report.verdict == "drift"
        missing = set(path_of(report.files["missing"]).read_text().split())
        assert missing >= moved.keys()
        with second.calm():
            second.migrate()
        assert _held(second) == moved
        assert _reconcile(second).verdict == "equal"


def _held(world: World) -> dict[str, tuple[object, ...]]:
    """What the index has: by id the values as bytes, and the rest of each vector."""
    return {
        vector_id: (values.tobytes(), *rest)
        for vector_id, values, *rest in world.app.store.read_vectors(INDEX)
    }


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _another_machine(ours: World, folder: Path) -> World:
    """Another host with another collection, pointed at the same target."""
    payloads = {
        number: {**payload, "file_id": f"other-{payload['file_id']}"}
        for number, payload in chunk_payloads(POINTS, files=FILES).items()
    }
    source = MemorySource(payloads, dimensions=DIMENSIONS)
    return replace(_another_folder(ours, folder), source=source)


def _another_folder(ours: World, folder: Path) -> World:
    """Another host, or another --dir, with the same collection and the same target."""
    (folder / "snapshots").mkdir()
    return replace(
        ours,
        folder=folder,
        progress=Silence(),
        weather=None,
        sent_at=[],
        sent_uploads=[],
    )


def _take_snapshot(world: World) -> None:
    with world.calm():
        world.snapshot()


def _migrate_with(ours: World, theirs: World, at: int) -> bool:
    """Our migrate, theirs within it; whether there was such a request."""
    struck = False

    def weather(number: int, _: httpx.Request) -> Trouble | None:
        nonlocal struck
        if number == at and not struck:
            struck = True
            with theirs.calm():
                theirs.migrate()
        return None

    ours.weather = weather
    with ours.calm():
        ours.migrate()
    ours.weather = None
    return struck


def _reconcile(world: World) -> ReconcileReport:
    with world.calm():
        return world.reconcile()


def _ids(world: World) -> set[str]:
    return {
        f"{payload['file_id']}_{payload['chunk_index']}" for payload in world.source.points.values()
    }
