"""A store over several vector indexes writes a file where its entry says, else where its key says.

`test_conformance.py` runs the cases of every store on it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import PreconditionError, UsageError
from migrate.file_stores.sharded_store import ShardedFileStore
from migrate.mapping.shards import shard_of
from migrate.runtime import Runtime
from migrate.upload.settle import SettleRules
from tests.migrate.file_stores.backends import Edge, edge
from tests.migrate.file_stores.cases import DIMENSIONS, rules, vector

FORMER, ADDED = ("wiki-0", "wiki-1"), "wiki-2"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Edge]:
    with edge(tmp_path, with_index=False) as found:
        for name in (*FORMER, ADDED):
            found.store.create_vector_index(name, DIMENSIONS, "cosine")
        yield found


def store_over(opened: Edge, *indexes: str) -> ShardedFileStore:
    return ShardedFileStore(
        {name: VectorizeTarget(opened.http, name) for name in indexes},
        WorkersKvTarget(opened.http, opened.namespace_id),
        rules(),
        Runtime(clock=opened.clock, progress=opened.progress, reads_in_flight=1),
        settle=SettleRules(timeout_s=600, poll_s=1),
        kv_settle_s=0,
    )


def ids(opened: Edge, index: str) -> set[str]:
    return {one for one, *_ in opened.store.read_vectors(index)}


def test_with_a_further_index_a_file_stays_where_it_is_and_a_new_one_may_go_there(
    opened: Edge,
) -> None:
    moving = next(name for name in map(str, range(99)) if shard_of(name, (*FORMER, ADDED)) == ADDED)
    store_over(opened, *FORMER).upsert_vectors([vector(moving, 0)])
    home = shard_of(moving, FORMER)

    longer = store_over(opened, *FORMER, ADDED)
    longer.upsert_vectors([vector(moving, 1)])
    new = f"{moving}-new"
    longer.upsert_vectors([vector(new, 0)])

    assert ids(opened, home) >= {f"{moving}_0", f"{moving}_1"}
    assert f"{moving}_1" not in ids(opened, ADDED)
    assert f"{new}_0" in ids(opened, shard_of(new, (*FORMER, ADDED)))
    assert [one.id for one in longer.get_vectors_by_file_id(moving)] == [
        f"{moving}_0",
        f"{moving}_1",
    ]


def test_an_entry_of_an_index_that_the_store_lacks_is_refused(opened: Edge) -> None:
    store_over(opened, *FORMER, ADDED).upsert_vectors([vector(str(n), 0) for n in range(12)])
    lost = next(str(n) for n in range(12) if shard_of(str(n), (*FORMER, ADDED)) == ADDED)
    before = {name: ids(opened, name) for name in (*FORMER, ADDED)}

    with pytest.raises(PreconditionError, match=f"names vector index '{ADDED}'"):
        store_over(opened, *FORMER).upsert_vectors([vector(lost, 1)])

    assert {name: ids(opened, name) for name in (*FORMER, ADDED)} == before


def test_a_bad_vector_is_refused_before_any_index_is_written(opened: Edge) -> None:
    store = store_over(opened, *FORMER)
    good = [vector(str(n), 0) for n in range(6)]

    with pytest.raises(UsageError, match="occurs twice"):
        store.upsert_vectors([*good, good[0]])

    assert ids(opened, "wiki-0") == ids(opened, "wiki-1") == set()


def test_no_file_may_have_the_key_of_a_counter(opened: Edge) -> None:
    store = store_over(opened, *FORMER)
    with pytest.raises(UsageError, match="empty"):
        store.get_vectors_by_file_id("")
    store.upsert_vectors([vector("a", 0)])
    values = {
        key: json.loads(value) for key, value, _, _ in opened.store.read_kv(opened.namespace_id)
    }

    assert values == {"file:a": ["a_0"], f"_vector_count:{shard_of('a', FORMER)}": 1}
