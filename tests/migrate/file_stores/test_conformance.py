"""What a file store promises, by one file of cases, on every service behind the two stores."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import PreconditionError, UsageError
from migrate.file_stores.contract import FileStore, FileVector
from tests.migrate.file_stores.backends import BACKENDS, Backend
from tests.migrate.file_stores.cases import (
    CASES,
    DIMENSIONS,
    Json,
    assert_same,
    by_file,
    make_call,
    of_ranges,
    refused_vector,
    rules,
    vector,
    vectors,
)

# A socket: a second passes between two writes of the counter. A folder: every point is fsynced.
SLOW = {"vectorize-served", "qdrant-in-folder"}
OF_LARGE_CASES = (
    "qdrant-in-memory",
    pytest.param("qdrant-served", marks=pytest.mark.search),
    "vectorize-instant",
)


def params() -> list[object]:
    """Every backend; those that take seconds are left out by `make test`."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in BACKENDS
    ]


@pytest.fixture
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with BACKENDS[request.param](tmp_path) as opened:
        opened.open().initialize_collection()
        yield opened


def check(backend: Backend, store: FileStore, expected: list[FileVector]) -> None:
    """The store holds these chunks and no others."""
    backend.wait()
    files = by_file(expected)
    for file_id, wanted in files.items():
        assert_same(wanted, store.get_vectors_by_file_id(file_id))
    assert store.get_vectors_by_file_id("unknown") == []
    info = store.get_collection_info()
    assert (info.dimensions, info.metric) == (DIMENSIONS, "cosine")
    assert info.vectors == store.count_vectors() == len(expected)
    if backend.held is not None:
        held = backend.held()
        assert held.ids == sorted(one.id for one in expected)
        assert held.entries == {
            f"file:{file_id}": [one.id for one in wanted] for file_id, wanted in files.items()
        }
        assert held.counter == len(expected)


def run_case(backend: Backend, case: Json) -> None:
    store = backend.open()
    for step in case["steps"]:
        if step.get("restart"):
            store = backend.open()
        if step.get("refused"):
            with pytest.raises(UsageError):
                make_call(store, step)
        else:
            make_call(store, step)
        check(backend, store, of_ranges(step["then"]))


@pytest.mark.fault("T01", "T02")
@pytest.mark.parametrize("backend", params(), indirect=True)
@pytest.mark.parametrize(
    "case", [one for one in CASES["cases"] if not one.get("large")], ids=lambda case: case["name"]
)
def test_a_case(backend: Backend, case: Json) -> None:
    run_case(backend, case)


@pytest.mark.fault("T03")
@pytest.mark.slow
@pytest.mark.parametrize("backend", OF_LARGE_CASES, indirect=True)
@pytest.mark.parametrize(
    "case", [one for one in CASES["cases"] if one.get("large")], ids=lambda case: case["name"]
)
def test_a_large_case(backend: Backend, case: Json) -> None:
    run_case(backend, case)


@pytest.mark.fault("T04")
@pytest.mark.parametrize("backend", params(), indirect=True)
def test_a_vector_that_cannot_be_stored_is_named_and_nothing_is_sent(backend: Backend) -> None:
    store = backend.open()
    store.upsert_vectors(vectors("a", 2))
    bad = [
        *(refused_vector(one) for one in CASES["refused"]),
        FileVector(id=vector("a", 0).id, values=[math.nan] * DIMENSIONS, metadata={}),
        FileVector(
            id=vector("a", 0).id,
            values=["1"] * (DIMENSIONS - 1) + ["x"],  # type: ignore[arg-type]
            metadata={},
        ),
    ]

    for one in bad:
        with pytest.raises(UsageError, match=f"vector {one.id!r}: ") as refused:
            store.upsert_vectors([vector("a", 1, version=2), vector("new", 0), one])
        assert "nothing was sent" in refused.value.remedy
    check(backend, store, vectors("a", 2))


@pytest.mark.fault("T04")
@pytest.mark.parametrize("backend", params(), indirect=True)
def test_the_number_of_values_found_and_expected_is_said(backend: Backend) -> None:
    store = backend.open()

    with pytest.raises(UsageError, match="3,072 values, the store takes 32 values") as refused:
        store.upsert_vectors([refused_vector({"values": 3072})])
    assert "ask the embedding model for 32 dimensions" in refused.value.remedy


@pytest.mark.parametrize("backend", params(), indirect=True)
def test_metadata_of_every_kind_comes_back(backend: Backend) -> None:
    store = backend.open()
    more = {
        "text": "größer 😀",
        "n": 1,
        "half": 0.5,
        "flag": True,
        "tags": ["x", "y"],
        "in": {"n": 2},
    }
    whole = vector("a", 0)
    written = FileVector(
        id=whole.id, values=whole.values, metadata={**whole.metadata, **more, "empty": ""}
    )

    store.upsert_vectors([written])

    assert_same([written], store.get_vectors_by_file_id("a"))


@pytest.mark.parametrize("name", BACKENDS)
def test_without_a_collection_every_call_says_so(name: str, tmp_path: Path) -> None:
    with BACKENDS[name](tmp_path) as opened:
        store = opened.open()
        calls = [
            lambda: store.upsert_vectors(vectors("a", 1)),
            lambda: store.get_vectors_by_file_id("a"),
            lambda: store.delete_vectors_by_ids(["a_0"]),
            lambda: store.delete_vectors_by_file_id("a"),
            store.get_collection_info,
            store.count_vectors,
        ]

        for call in calls:
            with pytest.raises(PreconditionError, match="there is no") as refused:
                call()
            assert "initialize_collection" in refused.value.remedy


@pytest.mark.parametrize("backend", params(), indirect=True)
def test_ids_are_generated_and_parsed_as_the_cases_say(backend: Backend) -> None:
    store = backend.open()
    for one in CASES["ids"]:
        assert store.generate_vector_id(one["file_id"], one["chunk_index"]) == one["id"]
        assert store.parse_vector_id(one["id"]) == (one["file_id"], one["chunk_index"])
    for text in CASES["no_ids"]:
        assert store.parse_vector_id(text) is None
        with pytest.raises(UsageError):
            store.delete_vectors_by_ids([text])
    for one in CASES["no_chunks"]:
        with pytest.raises(UsageError):
            store.generate_vector_id(one["file_id"], one["chunk_index"])


def test_the_cases_are_those_of_the_default_rules() -> None:
    assert CASES["format"] == 1
    assert rules() == type(rules())(dimensions=DIMENSIONS)
