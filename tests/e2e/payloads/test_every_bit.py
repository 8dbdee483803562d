"""Values that text could change arrive with their bits: over REST and gRPC, into the sandbox."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import chunk, workbench
from tests.servers.qdrant_points import StoredPoint

PATTERNS = (
    # Both zeros, subnormals, normals, the largest; then the one value whose shortest text is read
    # as its neighbour, and its neighbours.
    *(0x00000000, 0x00000001, 0x007FFFFF, 0x00800000, 0x3F800001, 0x7F7FFFFF),
    *(0x15AE43FC, 0x15AE43FD, 0x15AE43FE, 0x15AE43FF),
)
BITS = np.array([sign | bits for bits in PATTERNS for sign in (0, 0x80000000)], np.uint32)


def rows() -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """One vector for each pattern, which it holds alone among plain values; the last has them all.

    Their squares stay within float32, as the service wants them.
    """
    fitting = BITS[np.abs(BITS.view(np.float32)) < 1e18]
    values = np.full((len(fitting) + 1, DIMENSIONS), 0.25, np.float32)
    values.view(np.uint32)[np.arange(len(fitting)), 3] = fitting
    values.view(np.uint32)[-1, : len(fitting)] = fitting
    return values


@pytest.mark.slow
@pytest.mark.fault("F24", "S09")
def test_every_bit_pattern_moves_exactly_and_is_proven_equal(tmp_path: Path) -> None:
    values = rows()
    stored = [
        StoredPoint(number, {"": row.tolist()}, chunk("file", number))
        for number, row in enumerate(values)
    ]
    with workbench(tmp_path, stored, distance="Dot") as bench:
        assert bench.move().exit_code == 0
        found = bench.stored()
        result = bench.run("reconcile")

    assert [found[f"file_{number}"][0].tobytes() for number in range(len(values))] == [
        row.tobytes() for row in values
    ]
    assert json.loads(result.stdout)["verdict"] == "equal"
