"""Gather points one by one into the columns of a `Page`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from migrate.model.irregular import encode_irregular
from migrate.model.records import (
    DenseColumn,
    Float32Matrix,
    MultiColumn,
    Page,
    PointId,
    SparseColumn,
    VectorColumn,
    VectorKind,
    VectorSpec,
)

MATRIX_AXES = 2

Floats = npt.NDArray[np.float32]
Sparse = tuple[npt.NDArray[np.uint32], Floats]


@dataclass(frozen=True, slots=True)
class Nonconforming:
    """A vector that cannot be stored in a column, as received, in JSON terms."""

    received: object


# One vector as a transport decodes it: an array of one axis (dense) or two (multi), a sparse
# pair, or the received value when it is no array of numbers.
Received = Floats | Sparse | Nonconforming


class PageBuilder:
    """The page under construction. Rows are added in id order, all vectors of a point at once."""

    def __init__(self, specs: Sequence[VectorSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._ids: list[PointId] = []
        self._payloads: list[bytes] = []
        self._irregular: list[bytes | None] = []
        self._rows: dict[str, list[Received | None]] = {name: [] for name in self._specs}

    def add(
        self,
        point_id: PointId,
        payload: bytes,
        vectors: Mapping[str, Received],
        *,
        payload_as_received: str | None = None,
        payload_why: str | None = None,
    ) -> None:
        """Append one point; names missing in `vectors` are absent from it.

        A vector that does not fit its declared shape, or whose name the collection does not
        know, is kept as received in `irregular` and is absent from its column. The text of a
        payload that `payload` does not hold completely is kept there too; `payload_why` says why
        JSON libraries refuse it.
        """
        irregular: dict[str, object] = {}
        for name, spec in self._specs.items():
            received = vectors.get(name)
            fitting = _fit(received, spec) if received is not None else None
            if received is not None and fitting is None:
                irregular[name] = _as_json(received)
            self._rows[name].append(fitting)
        for name in vectors.keys() - self._specs.keys():
            irregular[name] = _as_json(vectors[name])
        self._ids.append(point_id)
        self._payloads.append(payload)
        self._irregular.append(encode_irregular(irregular, payload_as_received, payload_why))

    def build(self) -> Page:
        """The page of all rows added."""
        return Page(
            ids=tuple(self._ids),
            payloads=tuple(self._payloads),
            vectors={name: self._column(spec) for name, spec in self._specs.items()},
            irregular=tuple(self._irregular),
        )

    def _column(self, spec: VectorSpec) -> VectorColumn:
        rows = self._rows[spec.name]
        match spec.kind:
            case VectorKind.DENSE:
                return _dense_column(rows, spec.dimensions or 0)
            case VectorKind.MULTI:
                return MultiColumn(
                    tuple(row if isinstance(row, np.ndarray) else None for row in rows)
                )
            case VectorKind.SPARSE:
                return SparseColumn(tuple(row if isinstance(row, tuple) else None for row in rows))


def count_bytes(page: Page) -> int:
    """The approximate number of bytes of the page's values and payloads in memory."""
    total = sum(len(payload) for payload in page.payloads)
    for column in page.vectors.values():
        match column:
            case DenseColumn():
                total += column.values.nbytes
            case MultiColumn():
                total += sum(row.nbytes for row in column.rows if row is not None)
            case SparseColumn():
                total += sum(row[0].nbytes + row[1].nbytes for row in column.rows if row)
    return total


def _dense_column(rows: Sequence[Received | None], dimensions: int) -> DenseColumn:
    values: Float32Matrix = np.zeros((len(rows), dimensions), dtype=np.float32)
    present = np.zeros(len(rows), dtype=np.bool_)
    for position, row in enumerate(rows):
        if isinstance(row, np.ndarray):
            values[position] = row
            present[position] = True
    return DenseColumn(values, present)


def _fit(received: Received, spec: VectorSpec) -> Received | None:
    """The vector in the form of its column; None when it does not have the declared shape."""
    match spec.kind, received:
        case VectorKind.DENSE, np.ndarray():
            return received if received.shape == (spec.dimensions,) else None
        case VectorKind.MULTI, np.ndarray():
            if received.size == 0:
                return np.zeros((0, spec.dimensions or 0), dtype=np.float32)
            fits = received.ndim == MATRIX_AXES and received.shape[1] == spec.dimensions
            return received if fits else None
        case VectorKind.SPARSE, tuple():
            return _fit_sparse(*received)
        case _:
            return None


def _fit_sparse(indices: npt.NDArray[np.uint32], values: Floats) -> Sparse | None:
    """The pair with ascending indices; None if an index repeats or the lengths differ."""
    if indices.shape != values.shape:
        return None
    if np.any(indices[1:] <= indices[:-1]):
        order = np.argsort(indices, kind="stable")
        indices, values = indices[order], values[order]
        if np.any(indices[1:] == indices[:-1]):
            return None
    return indices, values


def _as_json(received: Received) -> object:
    match received:
        case Nonconforming():
            return received.received
        case tuple():
            indices, values = received
            return {"indices": indices.tolist(), "values": _json_floats(values.tolist())}
        case _:
            return _json_floats(received.tolist())


def _json_floats(values: object) -> object:
    """The values with NaN and infinities as their names, because JSON does not have them."""
    if isinstance(values, list):
        return [_json_floats(value) for value in values]
    if isinstance(values, float) and not np.isfinite(values):
        return str(values)
    return values
