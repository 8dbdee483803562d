"""Number of requests of each piece of work, for the plan and for the progress."""

from math import ceil

from migrate.model import limits

KV_PAIRS_PER_WRITE = 5_000
KV_KEYS_PER_UNDO = 1_000  # keys that a rollback compares and undoes at a time

# Shortest float32 text of a unit vector, comma included (docs/services.md).
TEXT_BYTES_PER_VALUE = 12.51
LINE_FRAMING_BYTES = 40


def upload_bytes(
    vectors: int, dimensions: int, metadata_bytes: int, line_bytes: float | None = None
) -> int:
    """Bytes of all upload bodies; `metadata_bytes` is the sum over all vectors.

    `line_bytes` is the mean size of a line beside its metadata; None: that of a unit vector.
    """
    if line_bytes is None:
        line_bytes = dimensions * TEXT_BYTES_PER_VALUE + LINE_FRAMING_BYTES
    return ceil(vectors * line_bytes) + metadata_bytes


def upload_requests(vectors: int, sent_bytes: int, *, per_upload: int, body_bytes: int) -> int:
    """Number of uploads of at most `per_upload` vectors and `body_bytes`."""
    return max(ceil(sent_bytes / body_bytes), ceil(vectors / per_upload))


def list_requests(vectors: int) -> int:
    """Requests of one walk over all ids."""
    return max(1, ceil(vectors / limits.LIST_IDS_MAX))


def fetch_requests(vectors: int) -> int:
    """Requests to read this number of vectors."""
    return ceil(vectors / limits.FETCH_IDS_MAX)


def undo_vector_requests(vectors: int) -> int:
    """Requests to compare this number of vectors and to delete or restore them."""
    return fetch_requests(vectors) + ceil(vectors / limits.DELETE_IDS_MAX)


def kv_write_requests(files: int) -> int:
    """Requests to write the KV index and the counter."""
    return ceil(files / KV_PAIRS_PER_WRITE) + 1


def kv_list_requests(files: int) -> int:
    """Requests of one walk over the keys of the KV index."""
    return max(1, ceil(files / limits.KV_LIST_KEYS_MAX))


def kv_compare_requests(files: int) -> int:
    """Requests to list and read the KV index; the counter is listed and read separately."""
    return kv_list_requests(files) + ceil(files / limits.KV_READ_KEYS_MAX) + 2


def undo_kv_requests(keys: int) -> int:
    """Requests to list and read this number of keys, and to delete or restore them."""
    reads = kv_list_requests(keys) + 1 + ceil(keys / limits.KV_READ_KEYS_MAX)
    return reads + ceil(keys / KV_KEYS_PER_UNDO)
