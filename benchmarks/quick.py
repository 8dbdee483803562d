"""Measure each hot step against its own floor, in one run, by CPU time."""

import hashlib
import io
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from migrate.adapters.snapshot_columns import ROW_GROUP_ROWS, part_schema
from migrate.adapters.snapshot_parquet import PartWriter
from migrate.core.batching import encode_line
from migrate.core.digest import digest_points
from migrate.core.model import (
    DenseColumn,
    Float32Matrix,
    Page,
    PointId,
    VectorId,
    VectorKind,
    VectorSpec,
)
from migrate.core.values import ValueRules, reduce_values

ROUNDS = 7
ROWS = 4_000
SOURCE_DIMENSIONS = 3_072
DIMENSIONS = 1_536
PAGE_ROWS = 250
METADATA = orjson.dumps({"file_id": "1" * 33, "chunk_index": 7, "text": "wörter " * 170})


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the table: what we do, the floor it is held against, and the demand."""

    name: str
    ours: Callable[[], object]
    floor: Callable[[], object]
    floor_name: str
    demand: str


def unit_vectors(rows: int, dimensions: int) -> Float32Matrix:
    """Gaussian unit vectors, shape (rows, dimensions), the same every time."""
    values = np.random.default_rng(1).standard_normal((rows, dimensions)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def steps() -> Iterator[Step]:
    """Every measured step; the data is made once."""
    source = unit_vectors(ROWS, SOURCE_DIMENSIONS)
    target = np.ascontiguousarray(source[:, :DIMENSIONS])
    spec = VectorSpec(
        name="",
        kind=VectorKind.DENSE,
        dimensions=SOURCE_DIMENSIONS,
        distance="Cosine",
        datatype="float32",
    )
    page = Page(
        ids=tuple(PointId(0, number) for number in range(ROWS)),
        payloads=(METADATA,) * ROWS,
        vectors={"": DenseColumn(source, np.ones(ROWS, dtype=bool))},
        irregular=(None,) * ROWS,
    )
    digests = digest_points(page)
    rules = ValueRules(
        vector_name="",
        source_dimensions=SOURCE_DIMENSIONS,
        dimensions=DIMENSIONS,
        reduce="matryoshka",
        metric="cosine",
    )
    yield Step(
        "encode 1536 to NDJSON lines",
        lambda: [encode_line(VectorId(f"f_{i}"), target[i], METADATA) for i in range(ROWS)],
        lambda: [
            orjson.dumps(target[start : start + PAGE_ROWS], option=orjson.OPT_SERIALIZE_NUMPY)
            for start in range(0, ROWS, PAGE_ROWS)
        ],
        "orjson raw, pages of 250",
        "<= 1.3",
    )
    yield Step(
        "write a part, 3072",
        lambda: _write_part(page, digests, spec),
        lambda: _write_bare(page, digests, spec),
        "bare ParquetWriter",
        "<= 1.18",
    )
    yield Step(
        "digest points, 3072",
        lambda: digest_points(page),
        lambda: hashlib.sha256(memoryview(source).cast("B")).digest(),
        "sha256 of one buffer",
        "informs",
    )
    yield Step(
        "reduce 3072 to 1536",
        lambda: reduce_values(source, rules),
        source[:, :DIMENSIONS].copy,
        "copy",
        "<= 8",
    )


def _write_part(page: Page, digests: list[bytes], spec: VectorSpec) -> None:
    writer = PartWriter(io.BytesIO(), [spec])
    writer.add(page, digests)
    writer.close()


def _write_bare(page: Page, digests: list[bytes], spec: VectorSpec) -> None:
    """The same columns and encodings, all at once and without a thought for page sizes."""
    column = page.vectors[""]
    assert isinstance(column, DenseColumn)
    schema = part_schema([spec])
    values = pa.array(column.values.reshape(-1), pa.float32())
    table = pa.table(
        [
            pa.array([one.text for one in page.ids]),
            pa.array([one.id_type.value for one in page.ids]),
            pa.FixedSizeListArray.from_arrays(values, type=schema.field("vector").type),
            pa.array(page.payloads, pa.binary()).cast(pa.string()),
            pa.nulls(len(page), pa.string()),
            pa.array(digests, pa.binary(32)),
        ],
        schema=schema,
    )
    with pq.ParquetWriter(
        io.BytesIO(),
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        write_statistics=["point_id"],
        use_byte_stream_split=["vector.list.element"],
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)


def measure(step: Step) -> tuple[float, float]:
    """CPU medians in ms of ours and of the floor, taken in turn."""
    ours, floor = [], []
    for _ in range(ROUNDS):
        ours.append(_cpu_ms(step.ours))
        floor.append(_cpu_ms(step.floor))
    return statistics.median(ours), statistics.median(floor)


def _cpu_ms(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return (time.process_time() - started) * 1000


def main() -> None:
    """Print the table."""
    out = sys.stdout
    out.write(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"{ROWS} rows, CPU medians of {ROUNDS} rounds\n\n"
    )
    out.write(f"{'step':30} {'ours ms':>9} {'floor ms':>9} {'ratio':>6}  demand   floor\n")
    for step in steps():
        ours, floor = measure(step)
        out.write(
            f"{step.name:30} {ours:9.1f} {floor:9.1f} {ours / floor:6.2f}  {step.demand:8} "
            f"{step.floor_name}\n"
        )


if __name__ == "__main__":
    main()
