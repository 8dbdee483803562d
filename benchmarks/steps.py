"""The hot steps in one process: encoding, reading back, writing parts, hashing, reducing."""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.made import POOL, REDUCED, Points
from benchmarks.measure import Demand, Line, cpu_ms, ratio_line
from migrate.mapping.payload import map_again
from migrate.mapping.rules import MappingRules
from migrate.mapping.upload_body import encode_lines
from migrate.mapping.values import ValueRules, map_values, reduce_values
from migrate.model.digest import digest_points
from migrate.model.records import DenseColumn, Float32Matrix, Page, VectorId, VectorKind, VectorSpec
from migrate.qdrant.grpc.records import decode_points
from migrate.snapshot.columns import ROW_GROUP_ROWS, part_schema
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.parts import PartWriter, read_part, write_part
from migrate.storage.local_folder import local_file

ROWS = 4_000
PAGE_ROWS = 250
RULES = MappingRules(
    id_template="{file_id}_{chunk_index}",
    group_key="file_id",
    order_key="chunk_index",
    hash_key="chunk_hash",
    key_template="file:{file_id}",
    nulls="quarantine",
    truncate_field=None,
)
JSON_DUMPS_ROWS = 200  # the peer takes 20 times as long


class Steps:
    """The rows that every step works on, in each of their forms."""

    def __init__(self, folder: Path, rows: int = ROWS) -> None:
        self.rows = rows
        points = Points(max(rows, POOL))
        self.spec = VectorSpec(
            name="",
            kind=VectorKind.DENSE,
            dimensions=points.dimensions,
            distance="Cosine",
            datatype="float32",
        )
        self.rules = ValueRules(
            vector_name="",
            source_dimensions=points.dimensions,
            dimensions=REDUCED,
            reduce="matryoshka",
            metric="cosine",
        )
        self.answers = [
            points.scroll(start, PAGE_ROWS, whole=True) for start in range(0, rows, PAGE_ROWS)
        ]
        self.pages = [decode_points(answer, [self.spec]) for answer in self.answers]
        self.digests = [digest_points(page) for page in self.pages]
        self.reduced = [map_values(page, self.rules).values for page in self.pages]
        self.ids = [
            [VectorId(points.vector_id(number)) for number in range(start, start + PAGE_ROWS)]
            for start in range(0, rows, PAGE_ROWS)
        ]
        self._file = local_file(folder / "part-00000.parquet")
        pairs = zip(self.pages, self.digests, strict=True)
        with self._file.open_to_write() as file:
            written, size, sha256 = write_part(file, pairs, [self.spec])
        self._part = PartRecord(
            ordinal=0, rows=written, bytes=size, sha256=sha256, first_id="", last_id=""
        )

    def lines(self) -> Iterator[Line]:
        """Every step against its floor."""
        yield from self.encode_lines()
        yield self._write_line()
        ours, floor = cpu_ms(self.digest, self.digest_floor)
        yield ratio_line("digest points, 3072", ours, "sha256 of the same bytes", floor, Demand())
        ours, floor = cpu_ms(self.reduce, self.reduce_floor)
        yield ratio_line("reduce 3072 to 1536", ours, "copy", floor, Demand(at_most=8))

    def encode_lines(self) -> Iterator[Line]:
        """Lines of text from values, and from the Parquet part."""
        encode, whole, check, raw = cpu_ms(
            self.encode, self.read_and_encode, self._file.hash, self.encode_floor
        )
        floor = f"orjson raw, pages of {PAGE_ROWS}"
        yield ratio_line("encode 1536", encode, floor, raw, Demand(at_most=1.2))
        yield ratio_line(
            "Parquet 3072 -> reduced -> NDJSON", whole - check, floor, raw, Demand(at_most=2.0)
        )
        yield ratio_line("the same, the part's digest checked first", whole, floor, raw, Demand())
        peer = cpu_ms(self.encode_by_json_dumps, rounds=1)[0] * self.rows / JSON_DUMPS_ROWS
        yield ratio_line("peer: json.dumps of lists", peer, floor, raw, Demand())
        framing = sum(
            len(payload) + len(vector_id) + len('{"id":"","values":[],"metadata":}\n')
            for page, ids in zip(self.pages, self.ids, strict=True)
            for payload, vector_id in zip(page.payloads, ids, strict=True)
        )
        text = orjson.dumps(self.reduced[0], option=orjson.OPT_SERIALIZE_NUMPY)
        per_dimension = (self.encode() - framing) / (self.rows * REDUCED)
        yield Line(
            name="bytes per dimension on the wire, 1536",
            ours=per_dimension,
            unit="B",
            against="shortest float32 text",
            theirs=(len(text) - 2 * PAGE_ROWS) / (PAGE_ROWS * REDUCED),
            figure=per_dimension,
            demand=Demand(at_most=12.6),
        )

    def _write_line(self) -> Line:
        ours, floor = cpu_ms(self.write, self.write_floor)
        return ratio_line("write a part, 3072", ours, "bare ParquetWriter", floor, Demand())

    def encode(self) -> int:
        """Ours: one line a row, a page at a time; returns the bytes."""
        size = 0
        for page, ids, matrix in zip(self.pages, self.ids, self.reduced, strict=True):
            size += sum(map(len, encode_lines(ids, matrix, page.payloads)))
        return size

    def encode_floor(self) -> None:
        """The values alone, a page a call."""
        for matrix in self.reduced:
            orjson.dumps(matrix, option=orjson.OPT_SERIALIZE_NUMPY)

    def encode_by_json_dumps(self) -> None:
        """What scripts do, for the first rows."""
        page, matrix, ids = self.pages[0], self.reduced[0], self.ids[0]
        for at in range(JSON_DUMPS_ROWS):
            record = {
                "id": ids[at],
                "values": matrix[at].tolist(),
                "metadata": json.loads(page.payloads[at]),
            }
            json.dumps(record)

    def read_and_encode(self) -> None:
        """Ours: the part checked and read, payloads mapped, values reduced, lines encoded."""
        for rows in read_part(self._file, self._part, [self.spec], with_vectors=("",), first_row=0):
            values = map_values(rows.page, self.rules).values
            mapped = [
                map_again(point_id, payload, RULES)
                for point_id, payload in zip(rows.page.ids, rows.page.payloads, strict=True)
            ]
            ids, _, _, metadata, _ = zip(*mapped, strict=True)
            for _ in encode_lines(ids, values, metadata):
                pass

    def write(self) -> None:
        """Ours: pages into a part."""
        writer = PartWriter(io.BytesIO(), [self.spec])
        for page, digests in zip(self.pages, self.digests, strict=True):
            writer.add(page, digests)
        writer.close()

    def write_to(self, path: Path) -> None:
        """The floor on a disk: the file is durable at the end."""
        with path.open("wb") as file:
            self.write_floor(file)
            file.flush()
            os.fsync(file.fileno())

    def write_floor(self, file: BinaryIO | None = None) -> None:
        """The same columns and encodings, a group at a time, and nothing else."""
        schema = part_schema([self.spec])
        with pq.ParquetWriter(
            file or io.BytesIO(),
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=["point_id"],
            use_byte_stream_split=["vector.list.element"],
        ) as writer:
            for page, digests in zip(self.pages, self.digests, strict=True):
                table = pa.table(_bare_columns(page, digests, schema), schema=schema)
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)

    def digest(self) -> None:
        """Ours: a digest a point."""
        for page in self.pages:
            digest_points(page)

    def digest_floor(self) -> None:
        """One hash over all values and payloads."""
        digest = hashlib.sha256()
        for page in self.pages:
            digest.update(_values(page).data.cast("B"))
            for payload in page.payloads:
                digest.update(payload)

    def reduce(self) -> None:
        """Ours: half of the values, renormalised in double precision."""
        for page in self.pages:
            reduce_values(_values(page), self.rules)

    def reduce_floor(self) -> None:
        """Half of the values."""
        for page in self.pages:
            _values(page)[:, :REDUCED].copy()

    def read_floor(self) -> None:
        """The part's values and payloads, decoded by the library and not checked."""
        file = pq.ParquetFile(str(self._file))
        for group in range(file.num_row_groups):
            file.read_row_group(group, columns=["vector", "payload"], use_threads=False)


def _values(page: Page) -> Float32Matrix:
    column = page.vectors[""]
    assert isinstance(column, DenseColumn)
    return np.ascontiguousarray(column.values)


def _bare_columns(page: Page, digests: list[bytes], schema: pa.Schema) -> list[pa.Array]:
    values = pa.array(_values(page).reshape(-1), pa.float32())
    return [
        pa.array([str(one.number) for one in page.ids]),
        pa.array(["uint64"] * len(page)),
        pa.FixedSizeListArray.from_arrays(values, type=schema.field("vector").type),
        pa.array(page.payloads, pa.binary()).cast(pa.string()),
        pa.nulls(len(page), pa.string()),
        pa.array(digests, pa.binary(32)),
    ]
