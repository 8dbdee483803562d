"""A snapshot of a part holds exactly the points that a filter picks, read over any protocol."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrate.errors import ForeignStateError, UsageError
from migrate.model.records import Page, PointId, VectorKind, VectorSpec
from migrate.ports import PointSource
from migrate.qdrant.filters.check import parse_filter
from migrate.qdrant.filters.point_filter import PointFilter
from migrate.run.choose.matching import check_scope
from migrate.runtime import Runtime
from migrate.snapshot.begun.state import Range
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.snapshot.tasks import ReaderProcess, ReadJob
from migrate.storage.layout import PARTS
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import UnexpectedError
from tests.harness.fakes.silence import Silence
from tests.harness.tiers import examples
from tests.migrate.qdrant.sources import part
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint

WAYS = ("rest", "grpc", "folder", "local")
OPTIONS = SnapshotOptions(page_points=3, part_points=4, allow_empty=True)
VECTOR = VectorSpec(
    name="", kind=VectorKind.DENSE, dimensions=2, distance="Dot", datatype="float32"
)
UUID = "0b0e6c1e-5c3e-5a3e-9c5e-2a1b3c4d5e6f"

# --- a small grammar of filters, and what each means ----------------------------------------------

TENANTS = ["a", "b", "c"]
NUMBERS = [-1, 0, 1, 7]
Payload = Mapping[str, Any]
Meaning = Callable[[int | str, Payload], bool]
Wanted = tuple[dict[str, Any], Meaning]  # as JSON, and the same independently of Qdrant's code


def values(payload: Payload, key: str) -> list[Any]:
    """The values of a field: those of a list one by one, none of an absent field or null."""
    found = payload.get(key)
    return [one for one in (found if isinstance(found, list) else [found]) if one is not None]


def equals(key: str, value: Any) -> Wanted:
    wanted = {"key": key, "match": {"value": value}}
    return wanted, lambda _, payload: any(one == value for one in values(payload, key))


def is_one_of(chosen: list[str]) -> Wanted:
    wanted = {"key": "tenant", "match": {"any": chosen}}
    return wanted, lambda _, payload: bool({*values(payload, "tenant")} & {*chosen})


def at_least(bound: int) -> Wanted:
    wanted = {"key": "n", "range": {"gte": bound}}
    return wanted, lambda _, payload: any(one >= bound for one in values(payload, "n"))


def is_empty(key: str) -> Wanted:
    return {"is_empty": {"key": key}}, lambda _, payload: not values(payload, key)


def has_id(ids: list[int | str]) -> Wanted:
    return {"has_id": ids}, lambda point_id, _: point_id in ids


def all_of(wanted: list[Wanted]) -> Wanted:
    members = {"must": [one for one, _ in wanted]}
    return members, lambda at, payload: all(holds(at, payload) for _, holds in wanted)


def any_of(wanted: list[Wanted]) -> Wanted:
    members = {"should": [one for one, _ in wanted]}
    return members, lambda at, payload: any(holds(at, payload) for _, holds in wanted)


def none_of(wanted: list[Wanted]) -> Wanted:
    members = {"must_not": [one for one, _ in wanted]}
    return members, lambda at, payload: not any(holds(at, payload) for _, holds in wanted)


IDS = st.lists(st.integers(0, 20) | st.just(UUID), min_size=1, max_size=3, unique=True)
CONDITIONS = st.one_of(
    st.builds(equals, st.just("tenant"), st.sampled_from(TENANTS)),
    st.builds(equals, st.just("n"), st.sampled_from(NUMBERS)),
    st.builds(is_one_of, st.lists(st.sampled_from(TENANTS), min_size=1, unique=True)),
    st.builds(at_least, st.sampled_from(NUMBERS)),
    st.builds(is_empty, st.sampled_from(["tenant", "n"])),
    st.builds(has_id, IDS),
)


def clauses(of: st.SearchStrategy[Wanted]) -> st.SearchStrategy[Wanted]:
    lists = st.lists(of, min_size=1, max_size=3)
    return st.one_of(*(st.builds(clause, lists) for clause in (all_of, any_of, none_of)))


FILTERS = clauses(CONDITIONS | clauses(CONDITIONS))
TENANT = st.sampled_from(TENANTS) | st.none() | st.lists(st.sampled_from(TENANTS), max_size=2)
PAYLOADS = st.fixed_dictionaries(
    {}, optional={"tenant": TENANT, "n": st.sampled_from(NUMBERS) | st.none()}
)
COLLECTIONS = st.dictionaries(st.integers(0, 20) | st.just(UUID), PAYLOADS, max_size=12)


def stored(payloads: Mapping[int | str, Payload]) -> StoredCollection:
    points = [
        StoredPoint(point_id, {"": [0.5, float(number)]}, payload)
        for number, (point_id, payload) in enumerate(payloads.items())
    ]
    return StoredCollection(points=points, vectors={"size": 2, "distance": "Dot"})


# --- reading -------------------------------------------------------------------------------------


def take(source: PointSource, folder: Path) -> Snapshot:
    runtime = Runtime(clock=VirtualClock(), progress=Silence())
    return Snapshot(
        LocalFolder(Path(take_snapshot(source, LocalFolder(folder), OPTIONS, runtime).path))
    )


def ids_of(snapshot: Snapshot) -> list[PointId]:
    return [one for rows in snapshot.read(with_vectors=()) for one in rows.page.ids]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders, each for one use."""
    home, numbers = tmp_path_factory.mktemp("parts"), count()

    def each() -> Iterator[Path]:
        while True:
            yield home / str(next(numbers))

    return each()


@pytest.mark.slow
@pytest.mark.fault("M16")
@given(payloads=COLLECTIONS, wanted=FILTERS)
@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.too_slow])
def test_each_way_seals_the_points_that_the_filter_picks_under_one_root(
    folders: Iterator[Path], payloads: dict[int | str, Payload], wanted: Wanted
) -> None:
    members, holds = wanted
    picked = sorted(PointId.parse(one) for one, payload in payloads.items() if holds(one, payload))
    roots = set()
    for way in WAYS:
        collection, folder = stored(payloads), next(folders)
        with part(way, collection, folder, parse_filter(json.dumps(members))) as source:
            snapshot = take(source, folder / "snapshots")
            assert source.count_points() == len(picked)
        assert ids_of(snapshot) == picked
        assert snapshot.manifest.left_out == len(payloads) - len(picked)
        roots.add(snapshot.manifest.content_root)

    assert len(roots) == 1


# --- interruptions, other processes, refusals -----------------------------------------------------


def tenants() -> StoredCollection:
    return stored({number: {"tenant": "ab"[number % 2]} for number in range(24)})


def of_tenant(name: str) -> PointFilter:
    return parse_filter(json.dumps(all_of([equals("tenant", name)])[0]))


@pytest.mark.fault("M16")
@pytest.mark.parametrize("way", WAYS)
def test_a_killed_snapshot_is_resumed_by_its_own_filter_alone(way: str, tmp_path: Path) -> None:
    with part(way, tenants(), tmp_path / "0", of_tenant("a")) as source:
        whole = take(source, tmp_path / "undisturbed")
        read, reads = source.read_points, count()

        def read_until_the_kill(start: PointId | None, *, limit: int) -> Page:
            if next(reads) == 3:
                raise UnexpectedError
            return read(start, limit=limit)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(source, "read_points", read_until_the_kill)
            with pytest.raises(UnexpectedError):
                take(source, tmp_path / "snapshots")
        with part(way, tenants(), tmp_path / "1", of_tenant("b")) as other:
            of_b = take(other, tmp_path / "snapshots")
        again = take(source, tmp_path / "snapshots")

    assert again.folder.name < of_b.folder.name
    assert ids_of(of_b) == [PointId(0, number) for number in range(1, 24, 2)]
    assert again.manifest.content_root == whole.manifest.content_root
    assert of_b.manifest.content_root != whole.manifest.content_root


@pytest.mark.slow
@pytest.mark.fault("M16")
def test_a_reader_in_another_process_reads_the_same_part(tmp_path: Path) -> None:
    folder, collection = LocalFolder(tmp_path), tenants()
    folder.child(PARTS).make()
    with grpc_server(collection) as server:
        job = ReadJob(
            folder=folder,
            vectors=(VECTOR,),
            url=server.url,
            collection=collection.name,
            api_key=None,
            load_key=None,
            transport="grpc",
            compression="identity",
            ca_file=None,
            client=None,
            grpc_url=None,
            filter=of_tenant("b"),
            page_points=5,
            second_reading="digest",
            leave_unreadable=False,
            recorded=True,
            moving=False,
        )
        with ReaderProcess(job, Silence()) as reader:
            record = reader.write(Range(0, None, None))

    assert (record.rows, record.first_id, record.last_id) == (12, "1", "23")


@pytest.mark.fault("M15")
@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_limit_of_filters_is_no_limit_of_the_page(way: str, tmp_path: Path) -> None:
    collection = tenants()
    collection.filter_refusal = 'Limit exceeded 2 > 1 for "filter_max_conditions"'
    with (
        part(way, collection, tmp_path, of_tenant("a")) as source,
        pytest.raises(UsageError, match="filter_max_conditions"),
    ):
        source.read_ids(None, limit=10)

    assert collection.requests.count(collection.requests[-1]) == 1


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_limit_of_the_page_halves_the_page_of_a_part_too(way: str, tmp_path: Path) -> None:
    collection = tenants()
    collection.max_query_limit = 5
    with part(way, collection, tmp_path, of_tenant("a")) as source:
        snapshot = take(source, tmp_path / "snapshots")

    assert snapshot.manifest.points == 12


@pytest.mark.fault("M17")
@pytest.mark.parametrize("wanted", [None, "b"])
def test_the_library_too_compares_a_part_with_itself_alone(
    wanted: str | None, tmp_path: Path
) -> None:
    with part("rest", tenants(), tmp_path, of_tenant("a")) as source:
        snapshot = take(source, tmp_path / "snapshots")

    other = None if wanted is None else of_tenant(wanted).text
    with pytest.raises(ForeignStateError, match="holds the points that match") as refused:
        check_scope(snapshot, other)

    assert "take a snapshot of" in refused.value.remedy
