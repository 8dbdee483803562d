"""What is checked of a chain, although the digests of all files fit."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migrate.errors import ArtefactDamagedError
from migrate.runtime import NoProgress
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import decode_manifest, encode_manifest
from migrate.snapshot.sealed.verify import verify_chain, verify_points
from migrate.storage.local_folder import LocalFolder

EDITED_ROW = 3  # the catch-up replaces this point


def rewritten(part: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a part with other rows, in the form that q2v writes."""
    table = change(pq.read_table(io.BytesIO(part.read_bytes())))
    pq.write_table(
        table,
        part,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        write_statistics=["point_id"],
        use_byte_stream_split=["vector.list.element"],
    )


def resealed(directory: Path) -> Snapshot:
    """The newest snapshot, after every manifest was made to fit the files and its parent."""
    parent = None
    for folder in sorted(directory.glob("2*")):
        manifest = decode_manifest((folder / "manifest.json").read_bytes(), where="")
        parts = tuple(
            replace(part, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for part in manifest.parts
            for content in [(folder / "parts" / f"part-{part.ordinal:05d}.parquet").read_bytes()]
        )
        manifest = replace(manifest, parts=parts, parent=parent)
        (folder / "manifest.json").write_bytes(encode_manifest(manifest))
        parent = manifest.content_root
    return Snapshot(LocalFolder(folder))


def other_payload(row: int) -> Callable[[pa.Table], pa.Table]:
    """Another payload in one row, with the digest of the former one beside it."""

    def change(table: pa.Table) -> pa.Table:
        at = table.schema.names.index("payload")
        payloads = table.column("payload").to_pylist()
        payloads[row] = payloads[row].replace("}", ',"z":1}')
        return table.set_column(at, table.schema.field("payload"), pa.array(payloads, pa.string()))

    return change


def without_a_row(table: pa.Table) -> pa.Table:
    """One row twice in place of its neighbour."""
    return table.take([0, 1, 1, *range(3, len(table))])


@pytest.mark.fault("A06", "S07")
def test_each_point_is_compared_with_its_digest_those_that_a_difference_replaces_too(
    directory: Path,
) -> None:
    first = min(directory.glob("2*"))
    rewritten(first / "parts" / "part-00000.parquet", other_payload(EDITED_ROW))
    newest = resealed(directory)

    verify_points(newest, NoProgress())  # reads what counts now: the point is replaced
    with pytest.raises(ArtefactDamagedError, match="does not match its digest"):
        verify_chain(newest, NoProgress())


@pytest.mark.fault("A06", "S07")
@pytest.mark.parametrize("row", [0, EDITED_ROW + 1])
def test_a_changed_point_of_either_snapshot_is_named(directory: Path, row: int) -> None:
    for ordinal, folder in enumerate(sorted(directory.glob("2*"))):
        part = folder / "parts" / "part-00000.parquet"
        whole = part.read_bytes()
        rewritten(part, other_payload(min(row, 1 - ordinal) if ordinal else row))
        newest = resealed(directory)
        with pytest.raises(ArtefactDamagedError, match=f"{folder.name}.* does not match"):
            verify_chain(newest, NoProgress())
        part.write_bytes(whole)
    verify_chain(resealed(directory), NoProgress())


@pytest.mark.fault("A06", "R02")
def test_a_set_of_points_that_is_not_the_one_of_the_manifest_is_found(directory: Path) -> None:
    """Every point matches its digest; one of them is another."""
    rewritten(min(directory.glob("2*")) / "parts" / "part-00000.parquet", without_a_row)

    with pytest.raises(ArtefactDamagedError, match="set digest"):
        verify_chain(resealed(directory), NoProgress())
