"""Copies of objects on the local disk: bounded, whole, and never those of other bytes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from migrate.errors import LocalStorageError
from migrate.object_store.address import Bucket, ObjectAddress
from migrate.object_store.client import use_store
from migrate.object_store.copies import Copies
from migrate.object_store.folder import ObjectFolder, object_folder
from tests.harness.fakes.object_stores import CountedStore
from tests.migrate.storage.full_disk import file_size_max

BUCKET = "copies-of-a-test"
MB = 1 << 20
SIZE = 5 * MB  # larger than what is read into memory


@pytest.fixture
def store() -> Iterator[CountedStore]:
    store = CountedStore(MemoryStore())
    with use_store(BUCKET, store):  # type: ignore[arg-type]
        yield store


@pytest.fixture
def folder(store: CountedStore, tmp_path: Path) -> ObjectFolder:
    made = object_folder(ObjectAddress(Bucket(BUCKET), "dir"), tmp_path)
    return replace(made, copies=Copies(made.copies.folder, bytes_max=3 * SIZE))


def content(number: int) -> bytes:
    return bytes([number]) * SIZE


def held(folder: ObjectFolder) -> list[int]:
    return sorted(path.stat().st_size for path in folder.copies.folder.iterdir())


def fetches(store: CountedStore) -> int:
    return sum(what == "get" for what, _ in store.requests)


def test_a_large_object_is_fetched_once(folder: ObjectFolder, store: CountedStore) -> None:
    elsewhere = replace(folder, copies=Copies(folder.local.path / "elsewhere"))
    elsewhere.file("a").write(content(1))

    for _ in range(3):
        assert folder.file("a").hash()[0] == SIZE
    assert (fetches(store), held(folder)) == (1, [SIZE])


def test_what_was_created_here_needs_no_fetch(folder: ObjectFolder, store: CountedStore) -> None:
    folder.file("a").create(content(1))

    assert folder.file("a").read(bytes_max=SIZE) == content(1)
    assert fetches(store) == 0


def test_small_objects_leave_nothing_on_the_disk(folder: ObjectFolder) -> None:
    folder.file("a").create(b"small")

    assert folder.file("a").read(bytes_max=10) == b"small"
    assert held(folder) == []


def test_a_copy_of_former_bytes_is_not_taken(folder: ObjectFolder) -> None:
    folder.file("a").write(content(1))
    assert folder.file("a").read(bytes_max=SIZE) == content(1)
    folder.file("a").write(content(2))

    assert folder.file("a").read(bytes_max=SIZE) == content(2)


def test_the_oldest_copies_go_and_an_open_one_stays_readable(folder: ObjectFolder) -> None:
    for number in range(5):
        folder.file(f"{number}").create(content(number))
    with folder.open_to_read("4") as file:
        for number in range(4):
            assert folder.file(f"{number}").read(bytes_max=SIZE) == content(number)
        assert file.read() == content(4)

    assert sum(held(folder)) <= folder.copies.bytes_max


@pytest.mark.slow
def test_threads_that_read_at_once_all_get_the_bytes(folder: ObjectFolder) -> None:
    for number in range(4):
        folder.file(f"{number}").write(content(number))

    def read(number: int) -> bool:
        return folder.file(f"{number % 4}").read(bytes_max=SIZE) == content(number % 4)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(32)))
    assert all(size == SIZE for size in held(folder))


def test_a_full_disk_is_a_failure_with_advice_and_leaves_nothing(folder: ObjectFolder) -> None:
    folder.file("there").write(content(1))
    for act in (
        lambda: folder.file("new").create(content(2)),
        lambda: folder.file("there").hash(),
    ):
        with file_size_max(MB), pytest.raises(LocalStorageError) as caught:
            act()
        assert str(folder.copies.folder) in str(caught.value)

    assert held(folder) == []
    assert not folder.has("new")
