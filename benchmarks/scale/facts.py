"""What the arithmetic starts from: each figure with its mark and where it comes from."""

from dataclasses import dataclass
from enum import StrEnum

from migrate.model import limits
from migrate.plan.estimate import REQUEST_S

DIMENSIONS = 1_536  # what is uploaded: Vectorize takes no more
POINTS = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
SHAPES = (3_072, 1_536)  # of the source
READ_IN_BENCH = 3_072  # the shape that the rates below were measured with


class Mark(StrEnum):
    """How far a figure can be relied on."""

    MEASURED = "measured"  # `source` names the command
    DOCUMENTED = "documented"  # `source` names the page and its date
    OBSERVED = "observed"  # by others, against the live service
    ASSUMED = "assumed"  # your own may differ: measure it


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure, and why it is believed."""

    what: str
    value: float
    unit: str
    mark: Mark
    source: str


_BENCH = (
    "`make bench-full`, 2026-11-27, 1,000,000 points, two cores "
    "([results](../benchmarks/RESULTS.md))"
)
_SIZES = "`.venv/bin/python -m benchmarks.scale.sizes build/bench/sizes`, 2026-12-01, 20,000 points"
_SPILL = (
    "`.venv/bin/python -m benchmarks.scale.sizes build/bench/sizes`, 2026-12-01, 2,000,000 rows"
)
_EDGE = "`.venv/bin/python -m benchmarks.edge build/bench/edge`, 2026-11-29"
_A_LIMIT = "fundamentals/api/reference/limits, 2026-04-20"
_V_LIMIT = "vectorize/platform/limits, 2026-08-05"
_V_PRICE = "vectorize/platform/pricing, 2026-04-21"
_KV_PRICE = "kv/platform/pricing, 2026-04-21"
_KV_PRICE_READ = "kv/platform/pricing, as third parties read it in 2026; bulk reads count by key"
_KV_LIMIT = "kv/platform/limits, 2026-04-21"
_WORKERS = "workers/platform/pricing, as third parties read it on 2026-08-03"
_R2 = "r2/pricing, as vantage.sh read it on 2024-03-06"

# The data.
METADATA_BYTES = Fact(
    "metadata of a vector, JSON", 1_308, "B", Mark.ASSUMED, "as the points of `make bench`"
)
CHUNKS_PER_FILE = Fact("vectors of a file", 20, "", Mark.ASSUMED, "100,000 points of 5,000 files")
ID_BYTES = Fact("id of a vector", 45, "B", Mark.ASSUMED, "a file's id and a number")

# Reading: the whole machine, with three readers on two cores.
COUNTED_PER_S = Fact("ids counted", 1_000_000 / 1.3, "1/s", Mark.MEASURED, _BENCH)
READ_PER_S = Fact(
    "points of 3,072 read and written", 1_000_000 / 43.8, "1/s", Mark.MEASURED, _BENCH
)
AGAIN_PER_S = Fact(
    "points of 3,072 read a second time", 1_000_000 / 17.7, "1/s", Mark.MEASURED, _BENCH
)
MAPPED_PER_S = Fact(
    "points planned (mapped and checked)", 1_000_000 / 40.4, "1/s", Mark.MEASURED, _BENCH
)
ENCODED_PER_S = Fact(
    "vectors encoded and sent to a desk", 1_000_000 / 39.1, "1/s", Mark.MEASURED, _BENCH
)
HASHED_BYTES_PER_S = Fact(
    "SHA-256, one core",
    1.4e9,
    "B/s",
    Mark.ASSUMED,
    "with SHA instructions; `openssl speed sha256` tells yours",
)
SOURCE_MBIT_PER_S = Fact(
    "line to the source, shared by all readers",
    10_000,
    "Mbit/s",
    Mark.ASSUMED,
    "within a data centre",
)

# The disk.
PART_BYTES = {
    3_072: Fact("a point of 3,072 in its part", 10_472, "B", Mark.MEASURED, _SIZES),
    1_536: Fact("a point of 1,536 in its part", 5_291, "B", Mark.MEASURED, _SIZES),
}
TARGETS_BYTES = Fact("a row of targets.parquet", 34.4, "B", Mark.MEASURED, _SIZES)
RUN_BYTES = Fact(
    "a row of the run beside it, with absent pre-images", 2.5, "B", Mark.MEASURED, _SIZES
)
SPILL_BYTES = Fact("a row of the plan, spilled by duckdb", 230, "B", Mark.MEASURED, _SPILL)

# The target.
BUDGET = Fact(
    "requests in any five minutes, of the 1,200 of an account",
    900,
    "",
    Mark.DOCUMENTED,
    f"{_A_LIMIT}; 900 is q2v's default",
)
REQUEST = Fact(
    "a small request and its answer", REQUEST_S, "s", Mark.ASSUMED, "`q2v plan` measures yours"
)
INDEX_VECTORS = Fact(
    "vectors of an index", limits.VECTORS_PER_INDEX_MAX, "", Mark.DOCUMENTED, _V_LIMIT
)
SETTLE = Fact(
    "until uploads are processed",
    120,
    "s",
    Mark.OBSERVED,
    "10 s to 2 min, of small uploads ([services](services.md#mutations)); not known for large ones",
)
BINDING = Fact(
    "one `getByIds` of 20 through the binding",
    0.3,
    "s",
    Mark.ASSUMED,
    "only a live account tells it",
)
VERIFIER_CPU_S = Fact("CPU of the verifier for a vector", 217.5e-6, "s", Mark.MEASURED, _EDGE)

# Prices in USD.
USD_VECTORIZE = Fact(
    "100 million stored dimensions, a month",
    limits.USD_PER_STORED_DIMENSION * 1e8,
    "USD",
    Mark.DOCUMENTED,
    _V_PRICE,
)
USD_QUERIED = Fact(
    "a million queried dimensions",
    limits.USD_PER_QUERIED_DIMENSION * 1e6,
    "USD",
    Mark.DOCUMENTED,
    _V_PRICE,
)
USD_KV_WRITES = Fact(
    "a million KV keys written, beyond the first",
    limits.USD_PER_KV_WRITE * 1e6,
    "USD",
    Mark.DOCUMENTED,
    _KV_PRICE,
)
USD_KV_READS = Fact(
    "a million KV keys read, beyond ten million", 0.50, "USD", Mark.DOCUMENTED, _KV_PRICE_READ
)
USD_KV_GB = Fact(
    "a GB in KV, a month, beyond the first", 0.50, "USD", Mark.DOCUMENTED, _KV_PRICE_READ
)
FREE_KV = Fact(
    "KV writes a day on the free plan",
    limits.FREE_KV_WRITES_PER_DAY,
    "",
    Mark.DOCUMENTED,
    f"{_KV_LIMIT}; as many deletions",
)
USD_CPU = Fact(
    "a million CPU ms of a Worker, beyond 30 million", 0.02, "USD", Mark.DOCUMENTED, _WORKERS
)
USD_INVOKED = Fact(
    "a million requests of a Worker, beyond ten million", 0.30, "USD", Mark.DOCUMENTED, _WORKERS
)
USD_R2_GB = Fact("a GB in R2, a month, beyond ten", 0.015, "USD", Mark.DOCUMENTED, _R2)
USD_R2_WRITES = Fact("a million R2 writes, beyond the first", 4.50, "USD", Mark.DOCUMENTED, _R2)
USD_R2_READS = Fact("a million R2 reads, beyond ten million", 0.36, "USD", Mark.DOCUMENTED, _R2)

# What goes wrong.
DRIVER_DAYS = Fact(
    "between two ends of the driver, on average", 7, "d", Mark.ASSUMED, "a reboot a week"
)
RESTART_S = Fact("until the driver runs again", 600, "s", Mark.ASSUMED, "a person or a supervisor")
WORKER_HOURS = Fact(
    "between two deaths of one worker, on average", 24, "h", Mark.ASSUMED, "spot machines"
)
RESPAWN_S = Fact("until a worker is replaced", 100, "s", Mark.ASSUMED, "your own records tell")
FAILED_SHARE = Fact(
    "requests that fail and are sent again", 0.001, "", Mark.ASSUMED, "your own records tell"
)
LIMITED_SHARE = Fact(
    "requests that are answered 429", 0.000_1, "", Mark.ASSUMED, "another client on the account"
)
RETRY_AFTER_S = Fact("Retry-After of a 429", limits.BLOCK_S, "s", Mark.DOCUMENTED, _A_LIMIT)


def facts() -> list[Fact]:
    """All of them, in the order of this module."""
    found: list[Fact] = []
    for value in globals().values():
        if isinstance(value, Fact):
            found.append(value)
        elif isinstance(value, dict):
            found += [one for one in value.values() if isinstance(one, Fact)]
    return found
