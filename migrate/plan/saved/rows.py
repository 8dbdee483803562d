"""One digest over everything that is written: the target rows of a plan. Pure."""

import hashlib
from collections.abc import Iterable

import pyarrow as pa

from migrate.model.canonical import encode_canonical_json

COLUMNS = ("row", "file", "position", "digest")


def digest_rows(batches: Iterable[pa.RecordBatch | pa.Table]) -> str:
    """SHA-256 (hex) over row, file, position and vector digest of every row, in row order.

    The digest of a vector covers its id, values, metadata and namespace. How the rows are divided
    into batches makes no difference.
    """
    hasher = hashlib.sha256(b"target rows of a plan, 1\n")
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in COLUMNS]
        hasher.update(
            b"".join(
                encode_canonical_json([row, file, position, bytes(digest).hex()]) + b"\n"
                for row, file, position, digest in zip(*columns, strict=True)
            )
        )
    return hasher.hexdigest()
