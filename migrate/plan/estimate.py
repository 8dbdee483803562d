"""Estimate a migration before it starts: requests, bytes, minutes, money."""

from collections.abc import Iterable
from dataclasses import dataclass

from migrate.cloudflare.budget.forecast import duration_s
from migrate.model import limits
from migrate.plan import request_counts

LINE_MBIT_PER_S = 100  # the reference line, either way; the operator's own may differ
# The provider documents no time; its REST API is served from few central places (D1 changelog,
# 2025-05-30). Used where none was measured. For large answers the line adds to it.
REQUEST_S = 0.3
# Answers give float32 as the text of a double: unit vectors of 384 and 1,536 dimensions.
ANSWER_BYTES_PER_VALUE = 21.3
# About 700,000 vectors. Above it, undoing vector by vector does not fit into a window.
ROLLBACK_HOURS_MAX = 4.0
LONG_ROLLBACK = (
    f"a rollback takes more than {ROLLBACK_HOURS_MAX:.0f} h, at 100 deletions a request: move into "
    "a new index and a new namespace, and undo by pointing the bindings back at the old "
    "ones; then delete the new ones with wrangler"
)
# Until the index has processed what was written, as observed (docs/services.md). Nothing can tell
# it ahead, so the minutes below take the upper end.
SETTLE_S_MIN = 10.0
SETTLE_MINUTES = 2.0


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
    settle_minutes: float  # the part of upload_minutes and rollback_minutes that is waiting
    upload_minutes: float  # uploads, settling, KV index
    list_minutes: float  # one walk over all ids
    content_minutes: float  # reading every vector back
    reconcile_minutes: float  # ids, all contents and the KV index; reading the source comes on top
    contents_read: int  # vectors whose contents a reconcile reads by the settings: all, or a sample
    planned_reconcile_minutes: float  # reconcile_minutes with `contents_read` contents
    rollback_requests: int
    rollback_minutes: float
    request_s: float  # one small request and its answer: measured, or REQUEST_S
    stored_dimensions: int
    usd_per_month: float  # storage and KV writes, paid plan, list prices of limits.PRICES_AS_OF
    # Cost of a full reconcile if reading by id counts as a query, which is not documented.
    usd_reconcile_if_reads_count: float
    fits_free_plan: bool  # by its stored dimensions
    # Whole commands, without the polls while the index settles: one migrate with its listing, its
    # uploads and the KV index; one reconcile by the settings, and one that reads all contents.
    migrate_requests: int
    planned_reconcile_requests: int
    reconcile_requests: int
    kv_writes: int  # keys that are written: an entry for each file, and the counter

    @property
    def upload_work_minutes(self) -> float:
        """Uploads and KV index, without the wait for the index."""
        return self.upload_minutes - self.settle_minutes

    @property
    def rollback_work_minutes(self) -> float:
        """The requests of a rollback, without the wait for the index."""
        return self.rollback_minutes - self.settle_minutes

    @property
    def window_minutes(self) -> float:
        """Upload, settling and the reconcile that the settings ask for, one after the other."""
        return self.upload_minutes + self.planned_reconcile_minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The amount of data to write, and the sizes of the uploads."""

    vectors: int
    files: int
    dimensions: int
    metadata_bytes: int  # over all vectors, with the member that names the namespace
    vectors_per_upload: int
    body_bytes: int  # per upload, at most
    line_bytes: float | None = None  # mean of a line beside its metadata, measured; None: assumed


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPace:
    """How fast requests may be sent and are answered."""

    requests_per_5min: int
    request_s: float = REQUEST_S  # between a small request and its answer
    uploads_in_flight: int = 1
    reads_in_flight: int = 1
    line_mbit_per_s: float = LINE_MBIT_PER_S


def is_long_rollback(minutes: float) -> bool:
    """Whether undoing id by id takes more than ROLLBACK_HOURS_MAX."""
    return minutes > ROLLBACK_HOURS_MAX * 60


def estimate(load: Workload, pace: RequestPace, *, contents_read: int | None = None) -> Estimate:
    """Compute requests, bytes, minutes and money from counts.

    `contents_read` is how many vectors the planned reconcile reads back; None: all.

    Minutes are those of the limiter (`forecast`), at `pace.request_s` a request and
    `pace.line_mbit_per_s`. Each piece of work starts with an unused budget of five minutes.
    """
    vectors, files = load.vectors, load.files
    upload_bytes = request_counts.upload_bytes(
        vectors, load.dimensions, load.metadata_bytes, load.line_bytes
    )
    uploads = _Work(
        request_counts.upload_requests(
            vectors, upload_bytes, per_upload=load.vectors_per_upload, body_bytes=load.body_bytes
        ),
        upload_bytes,
        in_flight=pace.uploads_in_flight,
    )
    lists = _Work(request_counts.list_requests(vectors))
    contents = _Work(
        request_counts.fetch_requests(vectors),
        round(vectors * load.dimensions * ANSWER_BYTES_PER_VALUE) + load.metadata_bytes,
        in_flight=pace.reads_in_flight,
    )
    read_back = vectors if contents_read is None else min(contents_read, vectors)
    planned = _Work(
        request_counts.fetch_requests(read_back),
        round(contents.bytes * read_back / max(1, vectors)),
        in_flight=pace.reads_in_flight,
    )
    kv = _Work(request_counts.kv_write_requests(files))
    kv_compare = _Work(request_counts.kv_compare_requests(files))
    rollback = (
        *(lists, _Work(request_counts.kv_list_requests(files))),  # keys written since
        _Work(request_counts.undo_kv_requests(files + 1)),
        contents,  # each vector is compared before it is undone
        _Work(request_counts.undo_vector_requests(vectors) - contents.requests),
        _Work(1),  # listing the remaining keys
    )

    def minutes(*works: _Work, settle_minutes: float = 0.0) -> float:
        seconds = _seconds(works, pace)
        return round(seconds / 60 + settle_minutes, 2)

    stored = vectors * load.dimensions
    return Estimate(
        vectors=vectors,
        files=files,
        upload_bytes=upload_bytes,
        upload_requests=uploads.requests,
        list_requests=lists.requests,
        content_requests=contents.requests,
        kv_requests=kv.requests,
        settle_minutes=SETTLE_MINUTES,
        upload_minutes=minutes(uploads, kv, settle_minutes=SETTLE_MINUTES),
        list_minutes=minutes(lists),
        content_minutes=minutes(contents),
        reconcile_minutes=minutes(lists, contents, kv_compare),
        contents_read=read_back,
        planned_reconcile_minutes=minutes(lists, planned, kv_compare),
        rollback_requests=sum(work.requests for work in rollback),
        rollback_minutes=minutes(*rollback, settle_minutes=SETTLE_MINUTES),
        request_s=pace.request_s,
        stored_dimensions=stored,
        usd_per_month=round(_usd_per_month(stored, files), 2),
        usd_reconcile_if_reads_count=round(
            max(0, stored - limits.INCLUDED_QUERIED_DIMENSIONS) * limits.USD_PER_QUERIED_DIMENSION,
            2,
        ),
        fits_free_plan=stored <= limits.FREE_STORED_DIMENSIONS,
        migrate_requests=lists.requests + uploads.requests + kv.requests,
        planned_reconcile_requests=lists.requests + planned.requests + kv_compare.requests,
        reconcile_requests=lists.requests + contents.requests + kv_compare.requests,
        kv_writes=files + 1,
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """Requests of one kind, sent one by one or several at once."""

    requests: int
    bytes: int = 0  # of all bodies or answers, where the line matters; else 0
    in_flight: int = 1

    def seconds(self, pace: RequestPace) -> float:
        """Seconds without a limiter: requests in flight share the line, but wait in parallel."""
        line_s = self.bytes * 8 / (pace.line_mbit_per_s * 1_000_000)
        return max(line_s, (self.requests * pace.request_s + line_s) / self.in_flight)


def _seconds(works: Iterable[_Work], pace: RequestPace) -> float:
    """Seconds for all kinds in sequence, at the mean time of a request."""
    some = [work for work in works if work.requests]
    requests = sum(work.requests for work in some)
    unlimited_s = sum(work.seconds(pace) for work in some)
    waited_s = sum(work.seconds(pace) * work.in_flight for work in some)  # by all requests
    return duration_s(
        requests=requests,
        requests_max=pace.requests_per_5min,
        request_s=unlimited_s / max(1, requests),
        answer_s=waited_s / max(1, requests),
    )


def _usd_per_month(stored_dimensions: int, files: int) -> float:
    stored = max(0, stored_dimensions - limits.INCLUDED_STORED_DIMENSIONS)
    writes = max(0, files + 1 - limits.INCLUDED_KV_WRITES)
    return stored * limits.USD_PER_STORED_DIMENSION + writes * limits.USD_PER_KV_WRITE
