"""A stored vector as a server would give it."""

import numpy as np
import numpy.typing as npt

from migrate.model.records import VectorSpec
from migrate.qdrant.columns import Floats, Nonconforming, Received
from migrate.qdrant.folder.local_mode.pickled import SPARSE, Instance

COSINE = "Cosine"
# A server leaves vectors alone whose squared length is within this of 1, or below the other.
UNIT_TOLERANCE = 1e-6
SHORT_MAX = 1.1920929e-7
UINT32_MAX = 2**32 - 1


def read_vector(stored: object, spec: VectorSpec | None) -> Received:
    """The values of a vector of the collection; `spec` is None for a name that it does not have.

    The local mode keeps what it was given, and a server normalises vectors of a cosine distance
    when they are written. So does this, by the rule of the server: a unit vector keeps its bits.
    """
    if isinstance(stored, Instance):
        return _sparse(stored)
    values = _floats(stored)
    if values is None:
        return Nonconforming(_as_json(stored))
    if spec is not None and spec.distance == COSINE and values.size:
        return _normalised(values)
    return values


def _floats(stored: object) -> Floats | None:
    """One axis for a dense vector, two for a multivector; None for anything else."""
    if not isinstance(stored, list):
        return None
    rows = stored if stored and all(isinstance(row, list) for row in stored) else [stored]
    if any(not set(map(type, row)) <= {float, int} for row in rows):
        return None
    try:
        with np.errstate(over="ignore"):  # as in a server: the value becomes infinite
            return np.array(stored, dtype=np.float64).astype(np.float32)
    except (ValueError, OverflowError):  # rows of different lengths; an integer beyond the doubles
        return None


def _normalised(values: Floats) -> Floats:
    squared: npt.NDArray[np.float32] = np.sum(values * values, axis=-1, keepdims=True)
    kept = (np.abs(squared - 1) <= UNIT_TOLERANCE) | (squared < SHORT_MAX)
    return np.where(kept, values, values / np.sqrt(np.where(kept, 1, squared))).astype(np.float32)


def _sparse(stored: Instance) -> Received:
    indices, values = stored.fields.get("indices"), stored.fields.get("values")
    found = _floats(values)
    fits = (
        stored.kind == SPARSE
        and isinstance(indices, list)
        and all(type(index) is int and 0 <= index <= UINT32_MAX for index in indices)
    )
    if not fits or found is None or found.ndim != 1:
        return Nonconforming({"indices": _as_json(indices), "values": _as_json(values)})
    return np.array(indices, dtype=np.uint32), found


def _as_json(stored: object) -> object:
    """What was stored, in JSON terms: values that JSON does not have become their names."""
    match stored:
        case list():
            return [_as_json(value) for value in stored]
        case None | bool() | int() | str():
            return stored
        case float() if np.isfinite(stored):
            return stored
        case _:
            return str(stored)
