"""What a migration costs before it starts: requests, bytes, minutes, money."""

from dataclasses import dataclass
from math import ceil

from migrate.core import limits

# Shortest float32 text of a unit vector, comma included (PERFORMANCE section A).
TEXT_BYTES_PER_VALUE = 12.51
LINE_FRAMING_BYTES = 40
UPLINK_MBIT_PER_S = 100  # the reference line of the estimate; the operator's own may differ
KV_PAIRS_PER_WRITE = 5_000
# Beyond it, undoing vector by vector is no way back within a window: 750,000 vectors or so.
ROLLBACK_HOURS_MAX = 4.0
LONG_ROLLBACK = (
    f"a rollback takes more than {ROLLBACK_HOURS_MAX:.0f} h, at 100 deletions a request: move into "
    "an index and a namespace of their own, and undo by pointing the bindings back at the old "
    "ones; then delete the new ones whole with wrangler"
)
SETTLE_MINUTES = 2.0  # observed 10 s to 2 min until the index has processed (contract 4.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Work of a whole migration with full reconcile, and of its rollback."""

    vectors: int
    files: int
    upload_bytes: int
    upload_requests: int
    list_requests: int  # one walk over all ids
    content_requests: int  # reading every vector back, 20 a request
    kv_requests: int
    upload_minutes: float  # the slower of uplink and request budget, plus settling
    reconcile_minutes: float  # ids and all contents, at the request budget
    rollback_requests: int
    rollback_minutes: float
    stored_dimensions: int
    usd_per_month: float  # storage and KV writes, paid plan, list prices of limits.PRICES_AS_OF
    # Whether reading by id counts as a query is not documented: what a full reconcile costs if so.
    usd_reconcile_if_reads_count: float
    fits_free_plan: bool

    @property
    def window_minutes(self) -> float:
        """Upload, settling and full reconcile, one after the other."""
        return self.upload_minutes + self.reconcile_minutes


def is_long_rollback(minutes: float) -> bool:
    """Whether undoing id by id takes longer than anybody should plan for."""
    return minutes > ROLLBACK_HOURS_MAX * 60


def estimate(
    *,
    vectors: int,
    files: int,
    dimensions: int,
    metadata_bytes: int,
    vectors_per_upload: int,
    body_bytes: int,
    requests_per_5min: int,
) -> Estimate:
    """Arithmetic over counts; `metadata_bytes` is the sum over all vectors."""
    line_bytes = vectors * (dimensions * TEXT_BYTES_PER_VALUE + LINE_FRAMING_BYTES)
    upload_bytes = ceil(line_bytes) + metadata_bytes
    uploads = max(ceil(upload_bytes / body_bytes), ceil(vectors / vectors_per_upload))
    lists = max(1, ceil(vectors / limits.LIST_IDS_MAX))
    contents = ceil(vectors / limits.FETCH_IDS_MAX)
    kv = ceil(files / KV_PAIRS_PER_WRITE) + 1
    kv_reads = ceil(files / limits.KV_LIST_KEYS_MAX) + ceil(files / limits.KV_READ_KEYS_MAX)
    rollback = contents + ceil(vectors / limits.DELETE_IDS_MAX) + kv
    per_minute = requests_per_5min / 5
    uplink = upload_bytes * 8 / (UPLINK_MBIT_PER_S * 1_000_000) / 60
    stored = vectors * dimensions
    return Estimate(
        vectors=vectors,
        files=files,
        upload_bytes=upload_bytes,
        upload_requests=uploads,
        list_requests=lists,
        content_requests=contents,
        kv_requests=kv,
        upload_minutes=round(max(uplink, (uploads + kv) / per_minute) + SETTLE_MINUTES, 2),
        reconcile_minutes=round((lists + contents + kv_reads) / per_minute, 2),
        rollback_requests=rollback,
        rollback_minutes=round(rollback / per_minute + SETTLE_MINUTES, 2),
        stored_dimensions=stored,
        usd_per_month=round(_usd_per_month(stored, files), 2),
        usd_reconcile_if_reads_count=round(
            max(0, stored - limits.INCLUDED_QUERIED_DIMENSIONS) * limits.USD_PER_QUERIED_DIMENSION,
            2,
        ),
        fits_free_plan=stored <= limits.FREE_STORED_DIMENSIONS,
    )


def _usd_per_month(stored_dimensions: int, files: int) -> float:
    stored = max(0, stored_dimensions - limits.INCLUDED_STORED_DIMENSIONS)
    writes = max(0, files + 1 - limits.INCLUDED_KV_WRITES)
    return stored * limits.USD_PER_STORED_DIMENSION + writes * limits.USD_PER_KV_WRITE
