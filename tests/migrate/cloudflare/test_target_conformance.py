"""What `VectorTarget` and `KvTarget` promise, whoever answers: one suite over all of them.

The fakes that other tests use are held here to the real adapters, whose requests go to the
sandbox.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.client.codes import DUPLICATE_INDEX_CODE
from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import TargetRefusedError
from migrate.model.limits import DELETE_IDS_MAX, FETCH_IDS_MAX
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.ports import KvTarget, VectorTarget
from sandbox.app import ACCOUNT_ID, API_TOKEN, create_app
from sandbox.clock import ManualClock
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_target import MemoryKv, MemoryVectors, Refusals
from tests.harness.network import InProcessNetwork

DIMENSIONS = 32  # the fewest that the service takes
REFUSED = VectorId("refused")  # the fake refuses it by its id, the sandbox for its values


@dataclass(frozen=True, slots=True)
class Stores:
    """An empty vector index, one that is not there, and an empty KV namespace."""

    vectors: VectorTarget
    absent: VectorTarget
    kv: KvTarget


@contextmanager
def memory(_folder: Path) -> Iterator[Stores]:
    """The fakes."""
    refusals = Refusals(bad=frozenset({REFUSED}))
    absent = MemoryVectors()
    absent.index = None
    yield Stores(MemoryVectors(refusals, dimensions=DIMENSIONS, page_ids=2), absent, MemoryKv())


@contextmanager
def sandbox(folder: Path) -> Iterator[Stores]:
    """The adapters of the product, over the sandbox."""
    clock = VirtualClock()
    app = create_app(folder / "target", clock=ManualClock())
    with closing(app):
        app.store.create_vector_index("index", DIMENSIONS, "cosine")
        namespace_id = app.store.create_kv_namespace("namespace")
        http = CloudflareHttp(
            Account(parse_base_url("http://127.0.0.1:1/client/v4"), ACCOUNT_ID, API_TOKEN),
            budget=RequestBudget(None, clock=clock, requests_max=1_200),
            clock=clock,
            jitter=lambda: 0.5,
            transport=InProcessNetwork(app),
        )
        with closing(http):
            yield Stores(
                VectorizeTarget(http, "index"),
                VectorizeTarget(http, "absent"),
                WorkersKvTarget(http, namespace_id),
            )


BACKENDS: dict[str, Callable[[Path], AbstractContextManager[Stores]]] = {
    "memory": memory,
    "sandbox": sandbox,
}


@pytest.fixture(params=BACKENDS)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    with BACKENDS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def vectors(stores: Stores) -> VectorTarget:
    return stores.vectors


@pytest.fixture
def kv(stores: Stores) -> KvTarget:
    return stores.kv


def wide(*values: float) -> list[float]:
    """These values, then zeros."""
    return [*values, *([0.0] * (DIMENSIONS - len(values)))]


def line(name: str, *values: float, **more: object) -> bytes:
    """One line of an upload; without values, those of the first axis."""
    record = {"id": name, "values": wide(*(values or (1.0,))), **more}
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def ids(*names: str) -> list[VectorId]:
    return [VectorId(name) for name in names]


def listed(vectors: VectorTarget) -> list[VectorId]:
    """The ids of one walk, with repetitions, sorted."""
    return sorted(vector_id for page in vectors.list_ids() for vector_id in page)


def fields(vector: Vector) -> tuple[list[float], str | None, object]:
    return vector.values.tolist(), vector.namespace, vector.metadata


# --- VectorTarget ------------------------------------------------------------------------------


def test_the_index_is_described(vectors: VectorTarget) -> None:
    index = vectors.read_index()

    assert index is not None
    assert (index.dimensions, index.metric) == (DIMENSIONS, "cosine")
    assert vectors.identity()["vector_index"] == index.name


def test_an_index_is_created_once(stores: Stores) -> None:
    assert stores.absent.read_index() is None

    created = stores.absent.create_index(dimensions=DIMENSIONS, metric="euclidean")

    assert (created.dimensions, created.metric) == (DIMENSIONS, "euclidean")
    assert created.name == stores.absent.identity()["vector_index"]
    assert stores.absent.read_index() == created
    with pytest.raises(TargetRefusedError) as refused:
        stores.absent.create_index(dimensions=DIMENSIONS, metric="euclidean")
    assert refused.value.evidence == {"status": 400, "code": DUPLICATE_INDEX_CODE}
    assert stores.absent.read_index() == created


def test_vectors_come_back_with_values_namespace_and_metadata(vectors: VectorTarget) -> None:
    lines = [
        line("a", 0.1, -2.5, 3.0, metadata={"n": 1, "text": "x", "list": ["y"], "flag": True}),
        line("b", 0.0, 1.0, 0.0, namespace="theirs"),
    ]
    vectors.upsert(lines)

    found = vectors.fetch(ids("a", "b", "absent"))
    assert {name: fields(vector) for name, vector in found.items()} == {
        "a": (
            np.array(wide(0.1, -2.5, 3.0), np.float32).tolist(),
            None,
            {"n": 1, "text": "x", "list": ["y"], "flag": True},
        ),
        "b": (wide(0.0, 1.0), "theirs", None),
    }


def test_an_upload_may_come_in_pieces_that_end_anywhere(vectors: VectorTarget) -> None:
    whole = line("a") + line("b")
    vectors.upsert([whole[:5], whole[5:]])

    assert ids("a", "b") == listed(vectors)


def test_an_upsert_replaces_all_of_a_vector(vectors: VectorTarget) -> None:
    vectors.upsert([line("a", namespace="theirs", metadata={"n": 1})])
    vectors.upsert([line("a", 0.0, 0.0, 1.0)])

    assert fields(vectors.fetch(ids("a"))[VectorId("a")]) == (wide(0.0, 0.0, 1.0), None, None)


def test_of_an_id_twice_in_one_upload_the_later_line_counts(vectors: VectorTarget) -> None:
    vectors.upsert([line("a", metadata={"n": 1}), line("a", metadata={"n": 2})])

    assert vectors.fetch(ids("a"))[VectorId("a")].metadata == {"n": 2}


def test_a_refused_upload_leaves_none_of_its_vectors(vectors: VectorTarget) -> None:
    with pytest.raises(TargetRefusedError) as refused:
        vectors.upsert(
            [line("a"), orjson.dumps({"id": REFUSED, "values": [1.0]}) + b"\n", line("b")]
        )

    assert refused.value.evidence["status"] == 400
    assert listed(vectors) == []


def test_repeating_a_write_changes_nothing(vectors: VectorTarget) -> None:
    body = [line("a", metadata={"n": 1})]
    for _ in range(2):
        vectors.upsert(body)
    for _ in range(2):
        vectors.delete(ids("b"))

    assert vectors.fetch(ids("a", "b")).keys() == {"a"}


def test_every_write_has_a_mutation_that_becomes_the_newest_processed(
    vectors: VectorTarget,
) -> None:
    first, second = vectors.upsert([line("a")]), vectors.delete(ids("a"))

    assert first.mutation_id != second.mutation_id
    assert vectors.read_progress().processed_mutation == second.mutation_id
    assert None not in {first.server_date, second.server_date}


@pytest.mark.parametrize("count", [1, FETCH_IDS_MAX])
def test_as_many_ids_as_the_port_allows_are_fetched(vectors: VectorTarget, count: int) -> None:
    names = [f"v{number:03d}" for number in range(count)]
    vectors.upsert([line(name) for name in names])

    assert vectors.fetch(ids(*names)).keys() == set(names)


def test_as_many_ids_as_the_port_allows_are_deleted(vectors: VectorTarget) -> None:
    names = [f"v{number:03d}" for number in range(DELETE_IDS_MAX)]
    vectors.upsert([line(name) for name in [*names, "kept"]])
    vectors.delete(ids(*names))

    assert listed(vectors) == ids("kept")


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_walk_lists_every_id_once(vectors: VectorTarget, count: int) -> None:
    names = [f"v{number}" for number in range(count)]
    if names:
        vectors.upsert([line(name) for name in names])

    assert listed(vectors) == ids(*names)
    assert vectors.count_vectors() == count


def test_a_filter_finds_what_was_written_after_its_index(vectors: VectorTarget) -> None:
    vectors.upsert([line("early", metadata={"n": 1, "text": "x"})])
    vectors.create_metadata_index("n", "number")
    vectors.create_metadata_index("text", "string")
    vectors.upsert(
        [
            line("near", 1.0, 0.1, 0.0, metadata={"n": 1, "text": "x"}),
            line("far", 0.0, 1.0, 0.0, metadata={"n": 1, "text": "x"}),
            line("other", metadata={"n": 2, "text": "x"}),
            line("bare"),
        ]
    )

    assert vectors.read_metadata_indexes() == {"n": "number", "text": "string"}
    at = wide(1.0)
    assert set(vectors.find(at, {"n": 1}, limit=100)) == set(ids("near", "far"))
    assert set(vectors.find(at, {"n": 1, "text": "x"}, limit=100)) == set(ids("near", "far"))
    assert vectors.find(at, {"n": 1}, limit=1) == ids("near")
    assert vectors.find(at, {"n": 3}, limit=100) == []
    vectors.upsert([line("early", metadata={"n": 1})])
    assert "early" in vectors.find(at, {"n": 1}, limit=100)


# --- KvTarget ----------------------------------------------------------------------------------

EXPIRATION = 4_000_000_000
ENTRIES = [
    KvEntry(key="file:a/b?\u00e9", value=b'["x_0"]', metadata={"n": 1}, expiration=EXPIRATION),
    KvEntry(key="file:raw", value=b"\xff\x00"),
    KvEntry(key="other", value=b""),
]


def test_entries_read_back_with_value_and_metadata_and_without_expiry(kv: KvTarget) -> None:
    assert kv.write(ENTRIES) == []

    found = kv.read([*(entry.key for entry in ENTRIES), "absent"])
    assert found == {entry.key: replace(entry, expiration=None) for entry in ENTRIES}


def test_a_listing_has_keys_metadata_and_expiry_of_the_prefix_only(kv: KvTarget) -> None:
    kv.write(ENTRIES)

    by_prefix = {prefix: list(kv.list_keys(prefix)) for prefix in ("file:", "none", "")}
    assert by_prefix["file:"] == [replace(entry, value=b"") for entry in ENTRIES[:2]]
    assert by_prefix["none"] == []
    assert {entry.key for entry in by_prefix[""]} == {entry.key for entry in ENTRIES}


def test_a_write_replaces_all_of_an_entry(kv: KvTarget) -> None:
    kv.write(ENTRIES)
    kv.write([KvEntry(key=ENTRIES[0].key, value=b"[]")])

    assert list(kv.list_keys("file:a")) == [KvEntry(key=ENTRIES[0].key, value=b"")]
    assert kv.read([ENTRIES[0].key])[ENTRIES[0].key].value == b"[]"


def test_deleting_is_complete_and_may_be_repeated(kv: KvTarget) -> None:
    kv.write(ENTRIES)
    for _ in range(2):
        assert kv.delete(["other", "file:raw", "absent"]) == []

    assert [entry.key for entry in kv.list_keys("")] == [ENTRIES[0].key]
    assert kv.read(["other", "file:raw"]) == {}
