"""The KV index: absolute values, and bulk writes within both limits."""

import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.cloudflare.kv_answers import encode_bulk_write
from migrate.mapping.kv_entries import (
    encode_counter_entry,
    encode_file_entry,
    entry_bytes,
    key_prefix,
    split_entries,
)
from migrate.mapping.rules import WriteRules
from migrate.model.records import KvEntry, VectorId
from tests.harness.strategies import RULES

WRITES = WriteRules(
    vectors_per_upload=1000, body_bytes=1_000_000, counter_key="_vector_count", ttl_s=None
)


def entries() -> st.SearchStrategy[KvEntry]:
    awkward = st.text(st.characters(categories=["Cc", "L", "S", "P"]), max_size=30)
    values = (
        awkward.map(str.encode)
        | st.binary(max_size=30)
        | st.tuples(st.text("ab", max_size=3000), st.binary(max_size=2)).map(
            lambda parts: parts[0].encode() + parts[1]
        )
    )
    return st.builds(
        KvEntry,
        key=awkward,
        value=values,
        metadata=st.none() | st.dictionaries(awkward, awkward, max_size=3) | awkward,
        expiration=st.none() | st.integers(0, 2**40),
    )


@pytest.mark.fault("K06")
@given(st.lists(entries(), min_size=1, max_size=4))
def test_the_size_of_an_entry_is_an_upper_bound_of_its_share(some: list[KvEntry]) -> None:
    assert len(encode_bulk_write(some)) <= sum(map(entry_bytes, some))


@pytest.mark.fault("K06")
@given(st.lists(entries(), max_size=20), st.integers(1, 5), st.integers(1, 2000))
def test_bulk_writes_hold_every_entry_once_in_order_within_both_limits(
    source: list[KvEntry], pairs_max: int, body_bytes_max: int
) -> None:
    batches = list(split_entries(source, pairs_max=pairs_max, body_bytes_max=body_bytes_max))

    assert source == [entry for batch in batches for entry in batch]
    for batch in batches:
        assert 1 <= len(batch) <= pairs_max
        assert len(batch) == 1 or len(encode_bulk_write(batch)) <= body_bytes_max


@pytest.mark.fault("K06")
@pytest.mark.parametrize(("count", "batches"), [(0, 0), (1, 1), (4, 1), (5, 2)])
def test_both_sides_of_the_number_of_pairs(count: int, batches: int) -> None:
    source = [KvEntry(key=str(number), value=b"") for number in range(count)]

    assert batches == len(list(split_entries(source, pairs_max=4, body_bytes_max=10_000)))


@pytest.mark.fault("K06")
def test_both_sides_of_the_number_of_bytes() -> None:
    source = [KvEntry(key=str(number), value=b"x" * 50) for number in range(2)]
    both = sum(map(entry_bytes, source))

    assert len(list(split_entries(source, pairs_max=9, body_bytes_max=both))) == 1
    assert len(list(split_entries(source, pairs_max=9, body_bytes_max=both - 1))) == 2


def test_a_file_is_one_key_with_the_list_of_its_ids() -> None:
    ids = [VectorId('a"1'), VectorId("é"), VectorId("a_0")]
    entry = encode_file_entry("b", ids, RULES, expiration=1_800_000_000)

    assert (entry.key, entry.expiration) == ("file:b", 1_800_000_000)
    assert ids == json.loads(entry.value)


@pytest.mark.fault("K03")
def test_the_counter_is_an_absolute_number() -> None:
    entry = encode_counter_entry(5_000_000, WRITES)

    assert KvEntry(key="_vector_count", value=b"5000000") == entry
    assert orjson.loads(entry.value) == 5_000_000


@pytest.mark.fault("K08")
@pytest.mark.parametrize(
    ("template", "prefix"), [("file:{file_id}", "file:"), ("{file_id}", ""), ("a{file_id}b", "a")]
)
def test_only_our_own_prefix_is_listed(template: str, prefix: str) -> None:
    assert prefix == key_prefix(replace(RULES, key_template=template))
