"""The arithmetic of a size, by the product's own functions wherever it has one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from benchmarks.scale import facts
from migrate.cloudflare.budget.forecast import duration_s
from migrate.mapping.kv_entries import encode_file_value
from migrate.model import limits
from migrate.model.records import VectorId, VectorKind, VectorSpec
from migrate.plan import request_counts
from migrate.plan.estimate import Estimate, RequestPace, Workload, estimate
from migrate.snapshot.begun.state import part_rows
from q2v.settings.sections import LimitSettings
from reconcile.scan.by_verifier import QUESTION_VECTORS_MAX

MBIT = 1_000_000 / 8  # bytes
GB = 1e9
LANES = 6  # of an invocation of the verifier: reads that wait for an answer at once
LARGE_BODY = 95_000_000
_SETTINGS = LimitSettings()
USUAL_BODY = _SETTINGS.body_bytes


@dataclass(frozen=True, slots=True)
class Size:
    """A collection."""

    points: int
    dimensions: int  # of the source

    @property
    def files(self) -> int:
        """At the assumed number of vectors each."""
        return ceil(self.points / facts.CHUNKS_PER_FILE.value)

    @property
    def indexes(self) -> int:
        """Vector indexes that hold it."""
        return ceil(self.points / limits.VECTORS_PER_INDEX_MAX)

    @property
    def wire_bytes(self) -> float:
        """Of one point over gRPC: its float32 values and its payload."""
        return _wire_bytes(self.dimensions)


def _wire_bytes(dimensions: int) -> float:
    return 4 * dimensions + facts.METADATA_BYTES.value


def workload(size: Size, body_bytes: int = USUAL_BODY) -> Workload:
    """What is written: 1,536 dimensions, whatever the source has."""
    usual = body_bytes <= USUAL_BODY
    return Workload(
        vectors=size.points,
        files=size.files,
        dimensions=min(size.dimensions, facts.DIMENSIONS),
        metadata_bytes=round(size.points * facts.METADATA_BYTES.value),
        vectors_per_upload=(
            _SETTINGS.vectors_per_upload if usual else limits.VECTORS_PER_UPLOAD_MAX
        ),
        body_bytes=body_bytes,
    )


def pace(line_mbit_per_s: float, request_s: float = facts.REQUEST.value) -> RequestPace:
    """The default settings over that line."""
    return RequestPace(
        requests_per_5min=round(facts.BUDGET.value),
        request_s=request_s,
        uploads_in_flight=_SETTINGS.uploads_in_flight,
        reads_in_flight=_SETTINGS.reads_in_flight,
        line_mbit_per_s=line_mbit_per_s,
    )


def figures(size: Size, line_mbit_per_s: float, body_bytes: int = USUAL_BODY) -> Estimate:
    """What `q2v plan` says of it."""
    return estimate(workload(size, body_bytes), pace(line_mbit_per_s))


# Reading


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of a snapshot; its parts one after the other."""

    count_s: float  # one walk over all ids: nothing divides it
    read_s: float
    again_s: float
    held_by: str

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.count_s + self.read_s + self.again_s


def reading(
    size: Size, machines: int, *, line_mbit_per_s: float = facts.SOURCE_MBIT_PER_S.value
) -> Reading:
    """A snapshot by that many machines of two cores; they share the line to the source."""
    line_s = size.points * size.wire_bytes / (line_mbit_per_s * MBIT)
    read_s = size.points / (machines * read_rate(facts.READ_PER_S.value, size))
    again_s = size.points / (machines * read_rate(facts.AGAIN_PER_S.value, size))
    if line_s > read_s:
        held_by = "the line"
    elif line_s > again_s:
        held_by = "the machines, then the line"
    else:
        held_by = "the machines"
    count_s = size.points / facts.COUNTED_PER_S.value
    return Reading(count_s, max(read_s, line_s), max(again_s, line_s), held_by)


def read_rate(measured: float, size: Size) -> float:
    """Points per second of one machine: as many bytes as of the shape that was measured."""
    return measured * _wire_bytes(facts.READ_IN_BENCH) / size.wire_bytes


def rows_of_part(size: Size) -> int:
    """Points in one part."""
    spec = VectorSpec(
        name="",
        kind=VectorKind.DENSE,
        dimensions=size.dimensions,
        distance="Cosine",
        datatype="float32",
    )
    return part_rows([spec])


def parts(size: Size) -> int:
    """Parts of the snapshot: the units of reading."""
    return ceil(size.points / rows_of_part(size))


# Disk and object store


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes, and objects of a store that has one for each part and one for its record."""

    parts_bytes: float
    targets_bytes: float
    run_bytes: float  # beside targets.parquet
    spill_bytes: float  # while the plan is made

    @property
    def driver_bytes(self) -> float:
        """What the process that plans and sends needs beside the parts."""
        return self.targets_bytes + self.run_bytes + self.spill_bytes


def stored(size: Size) -> Stored:
    """By what a point took."""
    return Stored(
        parts_bytes=size.points * facts.PART_BYTES[size.dimensions].value,
        targets_bytes=size.points * facts.TARGETS_BYTES.value,
        run_bytes=size.points * facts.RUN_BYTES.value,
        spill_bytes=size.points * facts.SPILL_BYTES.value,
    )


def objects(size: Size) -> int:
    """A part and its record each, what was begun, and the manifest (docs/object-storage.md)."""
    return 2 * parts(size) + 2


# Upload


def budget_s(requests: int, in_flight: int = _SETTINGS.uploads_in_flight) -> float:
    """Seconds that the request budget alone takes."""
    return duration_s(
        requests=requests,
        requests_max=round(facts.BUDGET.value),
        request_s=facts.REQUEST.value / in_flight,
        answer_s=facts.REQUEST.value,
    )


def line_s(count: float, line_mbit_per_s: float) -> float:
    """Seconds that a line takes for these bytes."""
    return count / (line_mbit_per_s * MBIT)


def upload_s(size: Size, line_mbit_per_s: float, body_bytes: int) -> float:
    """Seconds of all uploads and the KV index, without settling."""
    return figures(size, line_mbit_per_s, body_bytes).upload_minutes * 60 - facts.SETTLE.value


def upload_holders(size: Size, line_mbit_per_s: float, body_bytes: int) -> dict[str, float]:
    """What could hold the uploads -> seconds that it alone takes."""
    found = figures(size, line_mbit_per_s, body_bytes)
    return {
        "the budget": budget_s(found.upload_requests),
        "the line": line_s(found.upload_bytes, line_mbit_per_s),
        "encoding": size.points / facts.ENCODED_PER_S.value,
    }


def holder(holders: Mapping[str, float]) -> str:
    """The one that takes longest."""
    return max(holders, key=holders.__getitem__)


# Proof


def verifier_s(vectors: int, *, streams: int, answer_s: float = facts.BINDING.value) -> float:
    """Seconds to read contents through the verifier: requests at once, six reads in each."""
    reads = request_counts.fetch_requests(min(vectors, QUESTION_VECTORS_MAX))
    questions = ceil(vectors / QUESTION_VECTORS_MAX)
    return ceil(questions / streams) * ceil(reads / LANES) * answer_s


def verifier_cpu_s(vectors: int) -> float:
    """CPU of its invocations."""
    return vectors * facts.VERIFIER_CPU_S.value


def _beyond(count: float, included: float) -> float:
    return max(0.0, count - included)


def verifier_usd(vectors: int) -> float:
    """Of one whole reading, beyond what a month includes."""
    cpu = _beyond(verifier_cpu_s(vectors) * 1_000, 30e6) / 1e6 * facts.USD_CPU.value
    invoked = _beyond(ceil(vectors / QUESTION_VECTORS_MAX), 10e6) / 1e6 * facts.USD_INVOKED.value
    return cpu + invoked


# KV


def kv_value_bytes() -> int:
    """Of one file's entry."""
    ids = [VectorId("x" * round(facts.ID_BYTES.value))] * round(facts.CHUNKS_PER_FILE.value)
    return len(encode_file_value(ids))


def kv_days_on_free(size: Size) -> int:
    """Days until the free plan has taken every entry and the counter."""
    return ceil((size.files + 1) / facts.FREE_KV.value)


# Cost


@dataclass(frozen=True, slots=True)
class Cost:
    """USD; a month where nothing else is said, with the plan of Workers Paid of 5 USD."""

    vectorize: float
    kv_written: float  # once, and read back once
    kv_stored: float
    store: float  # R2 with the parts
    store_used: float  # once: parts written, and read three times
    rest_proof: float  # once, if reading by id counts as a query
    verifier: float  # once


def cost(size: Size) -> Cost:
    """Of the whole."""
    found = figures(size, 1_000)
    stored_dimensions = _beyond(found.stored_dimensions, limits.INCLUDED_STORED_DIMENSIONS)
    parts_gb = stored(size).parts_bytes / GB
    return Cost(
        vectorize=stored_dimensions * limits.USD_PER_STORED_DIMENSION,
        kv_written=_beyond(found.kv_writes, limits.INCLUDED_KV_WRITES) * limits.USD_PER_KV_WRITE
        + _beyond(found.kv_writes, 10e6) / 1e6 * facts.USD_KV_READS.value,
        kv_stored=_beyond(size.files * kv_value_bytes() / GB, 1) * facts.USD_KV_GB.value,
        store=_beyond(parts_gb, 10) * facts.USD_R2_GB.value,
        store_used=_beyond(objects(size), 1e6) / 1e6 * facts.USD_R2_WRITES.value
        + _beyond(3 * objects(size), 10e6) / 1e6 * facts.USD_R2_READS.value,
        rest_proof=found.usd_reconcile_if_reads_count,
        verifier=verifier_usd(size.points),
    )
