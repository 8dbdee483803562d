"""The KV index and the counter of a `VectorizeFileStore` under the faults of both services."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typing_extensions import override

from migrate.errors import (
    IndeterminateError,
    PreconditionError,
    RemoteUnavailableError,
    TargetRefusedError,
    UsageError,
)
from migrate.file_stores.file_index import OWN_WRITES_S, FileEntry, FileIndex
from migrate.file_stores.rules import FileStoreRules
from migrate.file_stores.vectorize_store import VectorizeFileStore
from migrate.mapping.kv_entries import encode_file_entry
from migrate.model.limits import KV_KEY_WRITE_GAP_S, KV_VALUE_BYTES_MAX
from migrate.model.records import KvEntry, VectorId
from migrate.ports import Target
from migrate.runtime import NoProgress, Runtime
from migrate.upload.settle import SettleRules
from sandbox.profile import INSTANT, STRICT
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_target import MemoryKv, MemoryVectors, Refusals
from tests.harness.fakes.silence import Silence
from tests.harness.running.target import INDEX
from tests.migrate.file_stores.backends import Edge, edge
from tests.migrate.file_stores.cases import DIMENSIONS, assert_same, rules, vector, vectors

YEAR_S = 31_536_000
SETTLE = SettleRules(timeout_s=60, poll_s=1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Edge]:
    with edge(tmp_path) as opened:
        yield opened


def ids(file_id: str, count: int, first: int = 0) -> list[str]:
    return [one.id for one in vectors(file_id, count, first=first)]


# --- counter -------------------------------------------------------------------------------------


@pytest.mark.fault("T01")
def test_the_counter_does_not_drift_when_ids_are_written_again(site: Edge) -> None:
    store = site.open()
    for version in range(4):
        store.upsert_vectors(vectors("a", 7, version=version))
        assert site.held().counter == 7
    site.open().upsert_vectors(vectors("a", 7, first=4))

    assert site.held().counter == len(site.held().ids) == 11


@pytest.mark.fault("T01")
def test_the_counter_does_not_drift_when_absent_ids_are_deleted(site: Edge) -> None:
    store = site.open()
    store.upsert_vectors(vectors("a", 7))
    for _ in range(3):
        store.delete_vectors_by_ids([*ids("a", 2, first=6), *ids("absent", 50)])
        store.delete_vectors_by_file_id("absent")
        assert site.held().counter == 6

    assert len(site.held().ids) == 6


@pytest.mark.fault("T01")
def test_the_counter_is_put_right_from_what_the_index_holds(site: Edge) -> None:
    store = site.open()
    store.upsert_vectors(vectors("a", 3))
    site.store.put_kv(site.namespace_id, "_vector_count", b"no number")
    site.store.put_vector(INDEX, "of another writer", np.ones(DIMENSIONS, np.float32))

    store.delete_vectors_by_ids(["a_0"])

    assert site.held().counter == store.count_vectors() == 3


@pytest.mark.fault("T01", "T09")
def test_a_single_stale_total_is_not_written() -> None:
    class Flapping(MemoryVectors):
        """The first request for the total shows a former state."""

        def __init__(self) -> None:
            super().__init__(dimensions=DIMENSIONS)
            self.former = [0]

        @override
        def count_vectors(self) -> int:
            return self.former.pop() if self.former else super().count_vectors()

    kv, clock = MemoryKv(), VirtualClock()
    store = memory_store(Flapping(), kv, clock)

    store.upsert_vectors(vectors("a", 3))

    assert kv.stored["_vector_count"].value == b"3"


# --- expiry --------------------------------------------------------------------------------------


@pytest.mark.fault("T05")
def test_every_rewrite_of_an_entry_sets_its_expiry_again(site: Edge) -> None:
    store = site.open(rules(ttl_s=YEAR_S))
    changes: list[Callable[[], None]] = [
        lambda: store.upsert_vectors(vectors("a", 5)),
        lambda: store.upsert_vectors(vectors("a", 5)),
        lambda: store.upsert_vectors(vectors("a", 4), whole_files=True),
        lambda: store.delete_vectors_by_ids(["a_0"]),
    ]
    for change in changes:
        site.clock.wait(1_000_000)
        change()
        now_s = site.clock.now()
        expires_s = site.held().expirations["file:a"]
        assert expires_s is not None
        assert now_s + YEAR_S - 100 < expires_s <= now_s + YEAR_S + 1
        assert site.held().expirations["_vector_count"] is None


@pytest.mark.fault("T05")
def test_without_expiry_a_rewrite_removes_the_one_of_another_program(site: Edge) -> None:
    later = int(site.clock.now()) + YEAR_S
    site.store.put_kv(site.namespace_id, "file:a", b'["a_0"]', None, later)

    site.open().upsert_vectors(vectors("a", 2))

    assert site.held().expirations == {"file:a": None, "_vector_count": None}


# --- limits of a request -------------------------------------------------------------------------


@pytest.mark.fault("T03", "T07")
@pytest.mark.parametrize(("count", "reads"), [(1, 1), (20, 1), (21, 2), (100, 5), (101, 6)])
def test_a_file_is_read_20_ids_a_request(site: Edge, count: int, reads: int) -> None:
    store = site.open()
    store.upsert_vectors(vectors("a", count))
    before = len(site.requests())

    assert_same(vectors("a", count), store.get_vectors_by_file_id("a"))
    assert Counter(site.requests()[before:])["get_by_ids"] == reads


@pytest.mark.fault("T03", "T07")
@pytest.mark.parametrize(("count", "deletions"), [(1, 1), (100, 1), (101, 2), (250, 3)])
@pytest.mark.parametrize("by", ["ids", "file", "whole file"])
def test_100_ids_are_deleted_a_request(site: Edge, count: int, deletions: int, by: str) -> None:
    store = site.open()
    store.upsert_vectors(vectors("a", count + 1))
    before = len(site.requests())

    if by == "ids":
        store.delete_vectors_by_ids(ids("a", count))
    elif by == "file":
        store.delete_vectors_by_ids(["a_0"])
        before = len(site.requests())
        store.delete_vectors_by_file_id("a")
    else:
        store.upsert_vectors(vectors("a", 1, first=count), whole_files=True)

    assert Counter(site.requests()[before:])["delete_by_ids"] == deletions
    assert len(site.held().ids) == (0 if by == "file" else 1)


def requests_of(site: Edge, files: int, chunks: int) -> dict[str, int]:
    """Requests to write so many files in one call, write them again, and delete their ids."""
    store = site.open()
    before = len(site.requests())
    whole = [one for number in range(files) for one in vectors(f"file-{number}", chunks)]
    store.upsert_vectors(whole)
    store.upsert_vectors(whole, whole_files=True)
    store.delete_vectors_by_ids([one.id for one in whole])
    return dict(Counter(site.requests()[before:]))


@pytest.mark.slow
@pytest.mark.fault("T07")
def test_requests_grow_with_the_call_and_not_with_its_square(site: Edge) -> None:
    one = requests_of(site, files=1, chunks=10)
    many = requests_of(site, files=60, chunks=10)

    # Six hundred vectors instead of ten: the deletions alone take more requests, 100 ids each.
    assert one.pop("delete_by_ids") == 1
    assert many.pop("delete_by_ids") == 6
    assert many == one
    assert sum(many.values()) < 50


@pytest.mark.fault("T07")
def test_entries_are_read_100_a_request(site: Edge) -> None:
    store = site.open()
    before = len(site.requests())

    store.upsert_vectors([vector(f"file-{number}", 0) for number in range(250)])

    assert site.requests()[before:].count("get") == 3


def test_uploads_are_cut_by_count_and_all_of_them_arrive(site: Edge) -> None:
    store = site.open(rules(vectors_per_upload=10))

    store.upsert_vectors([*vectors("a", 21), *vectors("b", 4)])

    assert site.requests().count("upsert") == 3
    assert len(site.held().ids) == site.held().counter == 25


def memory_store(
    vectors_: MemoryVectors, kv: MemoryKv, clock: VirtualClock, *, kv_settle_s: float = 0
) -> VectorizeFileStore:
    """A store over the fakes of the ports."""
    return VectorizeFileStore(
        Target(vectors_, kv),
        rules(),
        Runtime(clock=clock, progress=NoProgress()),
        settle=SETTLE,
        kv_settle_s=kv_settle_s,
    )


@pytest.mark.fault("T10")
def test_an_upload_that_is_too_large_for_a_proxy_is_sent_in_halves() -> None:
    target = MemoryVectors(Refusals(bytes_max=2_000), dimensions=DIMENSIONS)
    kv = MemoryKv()

    memory_store(target, kv, VirtualClock()).upsert_vectors(vectors("a", 20))

    assert sorted(target.stored) == sorted(ids("a", 20))
    assert json.loads(kv.stored["file:a"].value) == ids("a", 20)


@pytest.mark.fault("T10")
def test_what_the_target_refuses_gets_into_no_entry_and_is_taken_later() -> None:
    refusals = Refusals(bad=frozenset({VectorId("a_1")}))
    target, kv = MemoryVectors(refusals, dimensions=DIMENSIONS), MemoryKv()
    store = memory_store(target, kv, VirtualClock())

    with pytest.raises(TargetRefusedError):
        store.upsert_vectors(vectors("a", 3))
    assert kv.stored == {}
    target.refusals = Refusals()
    store.upsert_vectors(vectors("a", 3))

    assert json.loads(kv.stored["file:a"].value) == ids("a", 3)


def test_a_file_with_more_ids_than_a_kv_value_holds_is_refused() -> None:
    index = FileIndex(
        MemoryKv(), rules(), Runtime(clock=VirtualClock(), progress=NoProgress()), settle_s=0
    )
    of_60_bytes = VectorId("x" * 60)
    fits = (KV_VALUE_BYTES_MAX - 1) // len(f'"{of_60_bytes}",')

    index.check({"a": FileEntry((of_60_bytes,) * fits)})
    with pytest.raises(UsageError, match="a KV value takes"):
        index.check({"a": FileEntry((of_60_bytes,) * (fits + 1))})


# --- KV is eventually consistent -----------------------------------------------------------------


@pytest.mark.fault("T02", "T09")
@pytest.mark.parametrize("no_other_writer", [False, True])
def test_a_store_does_not_read_back_what_it_has_just_written(
    tmp_path: Path, *, no_other_writer: bool
) -> None:
    """Nor one that is told that it need not wait for an earlier process."""
    with edge(tmp_path, profile=STRICT) as site:
        if no_other_writer:
            site.kv_settle_s = 0
        store = site.open()
        for number in range(4):
            store.upsert_vectors([vector("a", number)])
        store.delete_vectors_by_ids(["a_1"])

        assert [one.id for one in store.get_vectors_by_file_id("a")] == ["a_0", "a_2", "a_3"]
        site.settle()
        assert site.held().entries == {"file:a": ["a_0", "a_2", "a_3"]}


@pytest.mark.fault("T02")
def test_a_young_store_waits_once_for_what_an_earlier_process_wrote(tmp_path: Path) -> None:
    with edge(tmp_path, profile=STRICT) as site:
        site.open().upsert_vectors(vectors("a", 2))
        store = site.open()
        opened_s = site.clock.now()
        store.upsert_vectors([vector("a", 2)])
        first_s = site.clock.now() - opened_s
        store.upsert_vectors([vector("b", 0)])
        second_s = site.clock.now() - opened_s - first_s

        assert second_s < site.kv_settle_s < first_s
        assert [text for text in site.progress.said if "earlier process" in text] == [
            f"waiting {site.kv_settle_s:.0f} s: KV may not show yet what an earlier process wrote"
        ] * 2
        site.settle()
        assert site.held().entries == {"file:a": ids("a", 3), "file:b": ["b_0"]}


@pytest.mark.fault("T09")
def test_keys_that_a_bulk_write_or_deletion_leaves_out_are_sent_again(tmp_path: Path) -> None:
    with edge(tmp_path, profile=replace(INSTANT, kv_partial_rate=0.5)) as site:
        store = site.open()
        store.upsert_vectors([vector(f"file-{number}", 0) for number in range(30)])
        assert len(site.held().entries) == 30
        store.delete_vectors_by_ids([f"file-{number}_0" for number in range(29)])

        assert site.held().entries == {"file:file-29": ["file-29_0"]}
        assert site.held().counter == 1


@pytest.mark.fault("T09")
def test_keys_that_keep_failing_are_an_error_and_the_same_call_heals() -> None:
    class Failing(MemoryKv):
        """Takes no key for a while."""

        is_failing = True

        @override
        def write(self, entries: Sequence[KvEntry]) -> list[str]:
            return [entry.key for entry in entries] if self.is_failing else super().write(entries)

    kv = Failing()
    store = memory_store(MemoryVectors(dimensions=DIMENSIONS), kv, VirtualClock())
    with pytest.raises(RemoteUnavailableError, match="1 KV key keeps failing, among them 'file:a'"):
        store.upsert_vectors(vectors("a", 2))
    kv.is_failing = False
    store.upsert_vectors(vectors("a", 2))

    assert json.loads(kv.stored["file:a"].value) == ids("a", 2)
    assert kv.stored["_vector_count"].value == b"2"


@pytest.mark.fault("T09")
def test_a_key_is_written_once_a_second_at_most(tmp_path: Path) -> None:
    with edge(tmp_path, profile=replace(INSTANT, kv_write_gap_s=KV_KEY_WRITE_GAP_S)) as site:
        store = site.open()
        for version in range(3):
            store.upsert_vectors(vectors("a", 2, version=version))
            store.delete_vectors_by_file_id("a")

        assert {record.status for record in site.log.records()} == {200}


@pytest.mark.fault("T09")
def test_a_read_that_shows_a_former_state_does_not_shorten_a_file(tmp_path: Path) -> None:
    profile = replace(INSTANT, stale_read_rate=0.5, stale_age_s=100.0)
    with edge(tmp_path, profile=profile) as site:
        store = site.open()
        store.upsert_vectors(vectors("a", 95))
        for _ in range(5):
            assert len(store.get_vectors_by_file_id("a")) == 95


# --- torn states ---------------------------------------------------------------------------------


@pytest.mark.fault("T06")
def test_an_entry_that_names_a_removed_vector_gives_the_others(site: Edge) -> None:
    store = site.open()
    store.upsert_vectors(vectors("a", 3))
    site.store.remove_vector(INDEX, "a_1")

    assert [one.id for one in store.get_vectors_by_file_id("a")] == ["a_0", "a_2"]
    store.delete_vectors_by_ids(["a_1"])
    assert site.held().entries == {"file:a": ["a_0", "a_2"]}


@pytest.mark.slow
@pytest.mark.fault("T10")
def test_a_write_that_is_not_visible_in_time_gets_into_no_entry(tmp_path: Path) -> None:
    with edge(tmp_path, profile=replace(INSTANT, commit_delay_s=1_000.0)) as site:
        store = site.open()
        with pytest.raises(IndeterminateError):
            store.upsert_vectors(vectors("a", 2))
        assert site.held().entries == {}
        site.clock.wait(1_000)
        store.upsert_vectors(vectors("a", 2))

        assert site.held().entries == {"file:a": ["a_0", "a_1"]}
        assert site.held().counter == 2


@pytest.mark.parametrize("value", [b"no json", b'{"a_0": 1}', b"[1]", b"3"])
def test_an_entry_of_another_form_is_named_and_kept(site: Edge, value: bytes) -> None:
    site.store.put_kv(site.namespace_id, "file:a", value)
    store = site.open()
    calls: list[Callable[[], object]] = [
        lambda: store.upsert_vectors(vectors("a", 1)),
        lambda: store.get_vectors_by_file_id("a"),
        lambda: store.delete_vectors_by_ids(["a_0"]),
        lambda: store.delete_vectors_by_file_id("a"),
    ]

    for call in calls:
        with pytest.raises(PreconditionError, match="'file:a' is no JSON list of vector ids"):
            call()
    assert "upsert" not in site.requests()
    assert dict(entry[:2] for entry in site.store.read_kv(site.namespace_id)) == {"file:a": value}


def test_ids_of_another_form_in_an_entry_are_kept_behind_the_others(site: Edge) -> None:
    site.store.put_kv(site.namespace_id, "file:a", b'["x","a_10","a_9","a_10"]')
    store = site.open()

    store.upsert_vectors([vector("a", 2)])
    store.delete_vectors_by_ids(["a_9"])

    assert site.held().entries == {"file:a": ["a_2", "a_10", "x"]}


def test_an_entry_that_names_a_vector_of_another_file_does_not_remove_it(site: Edge) -> None:
    store = site.open()
    store.upsert_vectors([*vectors("a", 2), *vectors("b", 2)])
    site.store.put_kv(site.namespace_id, "file:a", b'["a_0","b_0","a_1"]')

    assert_same(vectors("a", 2), store.get_vectors_by_file_id("a"))
    store.upsert_vectors([vector("a", 0)], whole_files=True)
    assert site.held().entries == {"file:a": ["a_0"], "file:b": ["b_0", "b_1"]}
    site.store.put_kv(site.namespace_id, "file:a", b'["a_0","b_0"]')
    store.delete_vectors_by_file_id("a")

    assert site.held().ids == ["b_0", "b_1"]


# --- two writers, against the contract -----------------------------------------------------------


class Meanwhile(Silence):
    """A progress display that makes a call of another process while vectors are awaited."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self._call: Callable[[], None] | None = call

    @override
    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


@pytest.mark.fault("T08")
def test_two_upserts_of_one_file_at_once_lose_no_vector_and_are_healed_by_making_them_again(
    site: Edge,
) -> None:
    other = site.open()
    site.progress = Meanwhile(lambda: other.upsert_vectors(vectors("a", 2, first=5)))
    store = site.open()

    store.upsert_vectors(vectors("a", 3))

    # The entry of the one that wrote last; no vector and no count is lost.
    assert site.held().entries == {"file:a": ids("a", 3)}
    assert len(site.held().ids) == site.held().counter == 5
    site.clock.wait(OWN_WRITES_S)  # each remembers its own entry for so long
    other.upsert_vectors(vectors("a", 2, first=5))
    assert site.held().entries == {"file:a": [*ids("a", 3), "a_5", "a_6"]}
    assert len(site.held().ids) == site.held().counter == 5


# --- the collection, and rules -------------------------------------------------------------------


def test_the_metadata_index_is_there_before_the_first_vector(tmp_path: Path) -> None:
    with edge(tmp_path, with_index=False, profile=STRICT) as site:
        store = site.open()
        store.initialize_collection()
        site.settle()
        assert site.held().counter == 0
        store.upsert_vectors([*vectors("a", 3), *vectors("b", 2)])

        info = store.get_collection_info()
        assert (info.name, info.vectors) == (INDEX, 5)
        assert site.requests().count("create") == 1
        assert not [text for text in site.progress.said if "does not find" in text]


def test_vectors_that_a_filter_will_not_find_are_said(site: Edge) -> None:
    store = site.open()
    store.upsert_vectors(vectors("a", 2))

    store.initialize_collection()

    assert [text for text in site.progress.said if "a filter on 'file_id' does not find" in text]
    assert site.held().counter == 2


def test_an_index_of_another_shape_is_refused_by_every_call(site: Edge) -> None:
    store = site.open(replace(rules(), dimensions=64))
    wide = [replace(vector("a", 0), values=[1.0] * 64)]
    calls: list[Callable[[], object]] = [
        store.initialize_collection,
        lambda: store.upsert_vectors(wide),
        lambda: store.delete_vectors_by_file_id("a"),
        store.get_collection_info,
    ]

    for call in calls:
        with pytest.raises(PreconditionError, match="has 32 dimensions and metric cosine"):
            call()
    assert "upsert" not in site.requests()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (replace(rules(), dimensions=31), "a vector index takes 32 to 1536"),
        (replace(rules(), dimensions=3072), "a vector index takes 32 to 1536"),
        (rules(ttl_s=59), "KV takes 60 or more"),
    ],
)
def test_rules_that_the_services_cannot_meet_are_refused(
    changed: FileStoreRules, said: str
) -> None:
    runtime = Runtime(clock=VirtualClock(), progress=NoProgress())
    target = Target(MemoryVectors(), MemoryKv())

    with pytest.raises(UsageError, match=said):
        VectorizeFileStore(target, changed, runtime)


def test_entries_have_the_form_of_those_of_a_move() -> None:
    kv = MemoryKv()
    store = memory_store(MemoryVectors(dimensions=DIMENSIONS), kv, VirtualClock())

    store.upsert_vectors(vectors("größer", 12))

    expected = [VectorId(one) for one in ids("größer", 12)]
    assert kv.stored == {
        "file:größer": encode_file_entry("größer", expected, rules().mapping, expiration=None),
        "_vector_count": KvEntry(key="_vector_count", value=b"12"),
    }
