"""A service that spells every double as JavaScript does: no drift, no conflict, all given back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sandbox.profile import INSTANT
from tests.harness.running.workbench import Workbench, chunk, unit_vectors, workbench
from tests.servers.qdrant_points import StoredPoint

JAVASCRIPT = replace(INSTANT, javascript_numbers=True)
POINTS = 12
NUMBERS: dict[str, Any] = {
    "far": 1.5e17,
    "whole": 3.0,
    "minus": -0.0,
    "tiny": 1e-7,
    "huge": 1e300,
    "third": 1 / 3,
    "deep": {"far": 1.5e21, "zero": -0.0, "whole": 2, "most": 2**53 - 1},
}


SAME_ID, SAME_KEY = "file-0000_1", "file:file-0000"  # of vectors and entries that the move replaces


def chunks() -> list[StoredPoint]:
    """Chunks whose metadata and values hold numbers that can be spelt in several ways."""
    return [
        StoredPoint(
            id=number,
            vectors={"": [-0.0, *values[1:].tolist()]},
            payload={**chunk(f"file-{number // 3:04d}", number % 3), **NUMBERS},
        )
        for number, values in enumerate(unit_vectors(POINTS))
    ]


def held(bench: Workbench) -> dict[str, Any]:
    """All that the target holds, as values: numbers compare by theirs."""
    vectors = {
        name: (values.tolist(), metadata) for name, (values, metadata) in bench.stored().items()
    }
    entries = {
        key: (value, metadata, expiration)
        for key, value, metadata, expiration in bench.sandbox.store.read_kv(bench.namespace_id)
    }
    return {**vectors, **entries}


@pytest.mark.slow
@pytest.mark.fault("F08", "I7", "R03")
def test_doubles_as_javascript_spells_them_are_no_drift_and_go_back_as_they_were(
    tmp_path: Path,
) -> None:
    """Written vectors and pre-images, of metadata, values and the metadata of KV entries."""
    with workbench(tmp_path, chunks(), profile=JAVASCRIPT) as bench:
        store = bench.sandbox.store
        theirs = np.array([-0.0, *unit_vectors(1)[0][1:]], np.float32)
        store.put_vector(bench.index, SAME_ID, theirs, metadata=NUMBERS)
        store.put_kv(bench.namespace_id, SAME_KEY, b"[1.0, 1.5e17]", metadata=NUMBERS)
        before = held(bench)
        bench.run("snapshot")
        moved = bench.run("migrate", "--into-non-empty")
        compared = bench.run("reconcile")
        watched = bench.run("monitor")
        undone = bench.run("rollback", "--execute", "--yes")
        after = held(bench)

    assert moved.exit_code == 0, moved.stderr
    assert (compared.exit_code, compared.document["verdict"]) == (0, "equal")
    assert watched.exit_code == 0, watched.stdout
    assert (undone.exit_code, undone.document["conflicts"]) == (0, []), undone.stdout
    assert after == before
