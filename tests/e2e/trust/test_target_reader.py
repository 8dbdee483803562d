"""The second reader finds any difference between two targets, and nothing else."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sandbox.clock import ManualClock
from sandbox.profile import INSTANT
from sandbox.store import SandboxStore
from tests.harness.running.target_reader import TargetContent, count_mutations, read_target

DIMENSIONS = 32
Change = Callable[[SandboxStore, str], object]


def _row(first: float = 1.0, second: float = 0.0) -> list[float]:
    return [first, second, *[0.25] * (DIMENSIONS - 2)]


def _target(folder: Path, change: Change = lambda store, namespace: None) -> TargetContent:
    """What two vectors and two entries, then a change, are read as."""
    with closing(SandboxStore(folder, INSTANT, ManualClock())) as store:
        store.create_vector_index("docs", DIMENSIONS, "cosine")
        namespace_id = store.create_kv_namespace("files")
        store.put_vector("docs", "a", _row(), {"n": 1}, "theirs")
        store.put_vector("docs", "b", _row(2.0), {"n": 2})
        store.put_kv(namespace_id, "k", b"v", {"m": 1}, 4_000_000_000)
        store.put_kv(namespace_id, "l", b"", None)
        change(store, namespace_id)
    return read_target(folder)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda store, _: store.put_vector("docs", "c", _row()), "vector docs c"),
        (lambda store, _: store.remove_vector("docs", "a"), "vector docs a"),
        (
            lambda store, _: store.put_vector(
                "docs", "b", _row(np.nextafter(2, 3, dtype="f4")), {"n": 2}
            ),
            "vector docs b",
        ),
        (
            lambda store, _: store.put_vector("docs", "b", _row(2.0, -0.0), {"n": 2}),
            "vector docs b",
        ),
        (lambda store, _: store.put_vector("docs", "b", _row(2.0), {"n": 3}), "vector docs b"),
        (lambda store, _: store.put_vector("docs", "b", _row(2.0), {"n": 2}, ""), "vector docs b"),
        (lambda store, namespace: store.put_kv(namespace, "l", b"0"), "entry files l"),
        (lambda store, namespace: store.put_kv(namespace, "l", b"", {}), "entry files l"),
        (lambda store, namespace: store.put_kv(namespace, "l", b"", None, 9**10), "entry files l"),
        (lambda store, namespace: store.remove_kv(namespace, "k"), "entry files k"),
        (lambda store, namespace: store.put_kv(namespace, "m", b"v"), "entry files m"),
    ],
)
def test_one_change_is_one_difference(tmp_path: Path, change: Change, name: str) -> None:
    before, after = _target(tmp_path / "before"), _target(tmp_path / "after", change)

    assert [name] == before.differences(after)
    assert before.encode() != after.encode()


def test_the_way_to_a_state_leaves_no_trace(tmp_path: Path) -> None:
    """Overwritten and back, removed and back, other times and row numbers: the same bytes."""

    def wander(store: SandboxStore, namespace_id: str) -> None:
        store.put_vector("docs", "a", _row(9.0), None)
        store.remove_vector("docs", "b")
        store.put_vector("docs", "b", _row(2.0), {"n": 2})
        store.put_vector("docs", "a", _row(), {"n": 1}, "theirs")
        store.put_kv(namespace_id, "k", b"other")
        store.remove_kv(namespace_id, "l")
        store.put_kv(namespace_id, "l", b"")
        store.put_kv(namespace_id, "k", b"v", {"m": 1}, 4_000_000_000)

    direct, wandered = _target(tmp_path / "direct"), _target(tmp_path / "wandered", wander)

    assert direct.differences(wandered) == []
    assert direct.encode() == wandered.encode()


def test_it_agrees_with_the_sandboxs_own_reader_and_looks_past_what_is_not_visible_yet(
    tmp_path: Path,
) -> None:
    """The newest accepted write counts, whether or not readers of the API see it already."""
    profile = replace(INSTANT, name="late", commit_delay_s=60.0)
    with closing(SandboxStore(tmp_path, profile, ManualClock())) as store:
        store.create_vector_index("docs", DIMENSIONS, "cosine")
        store.put_vector("docs", "a", _row(3.0), {"text": "ä"})
        index = store.vectors.indexes.get("docs")
        store.vectors.delete_vectors(index, ["a"])

        assert [one[0] for one in store.read_vectors("docs")] == ["a"]
        assert "vector docs a" not in read_target(tmp_path).records
        assert count_mutations(tmp_path) == 2

        store.put_vector("docs", "a", _row(3.0), {"text": "ä"})
        ((_, values, _, _),) = store.read_vectors("docs")
        record = read_target(tmp_path).records["vector docs a"]
        assert values.tobytes() in record
        assert '{"text":"ä"}'.encode() in record
