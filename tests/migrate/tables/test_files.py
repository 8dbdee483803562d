"""Files of a run and listed keys, against a model in plain lists."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.model.records import KvEntry
from migrate.tables.files import FILE_COLUMNS, FileTable
from tests.harness.tiers import examples
from tests.migrate.tables.test_plan_ids import FILES, Row, by_file, files, rows


def batch_of(source: list[Row]) -> pa.RecordBatch:
    return pa.record_batch(
        [
            pa.array([one.vector_id for one in source], pa.string()),
            pa.array([one.file for one in source], pa.string()),
            pa.array([one.position for one in source], pa.int64()),
        ],
        names=list(FILE_COLUMNS),
    )


@given(rows())
@settings(max_examples=examples(25))
def test_files_in_order_with_their_vectors_in_order(source: list[Row]) -> None:
    batches = [batch_of(source[:3]), batch_of(source[3:])]
    with (
        tempfile.TemporaryDirectory() as folder,
        FileTable(Path(folder, "spill"), batches) as table,
    ):
        assert list(table.files()) == files(source)
        assert table.count_files() == len(by_file(source))


@pytest.mark.fault("K08", "R09")
@given(
    rows(), st.lists(st.sampled_from(FILES[1:]).map("file:{}".format) | st.just("x"), max_size=6)
)
@settings(max_examples=examples(25))
def test_keys_that_belong_to_none_of_our_files(source: list[Row], keys: list[str]) -> None:
    entries = [
        KvEntry(key=key, value=b"", expiration=number if number % 2 else None)
        for number, key in enumerate(keys)
    ]
    ours = {f"file:{one.file}" for one in source if one.file is not None}
    with (
        tempfile.TemporaryDirectory() as folder,
        FileTable(Path(folder, "spill"), [batch_of(source)]) as table,
    ):
        table.add_listed_keys([KvEntry(key="broken walk", value=b"", expiration=5)])
        table.clear_listed_keys()
        table.add_listed_keys(entries)

        assert list(table.keys_elsewhere("file:{file_id}", "file_id")) == sorted(
            (key for key in keys if key not in ours), key=str.encode
        )
