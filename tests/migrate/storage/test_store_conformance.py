"""What every implementation of the storage port promises. A new one joins `FOLDERS`."""

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migrate.errors import ArtefactDamagedError, LocalStorageError, PreconditionError
from migrate.storage.folder import StoredFile, WorkFolder
from migrate.storage.hashed_file import HashedFile
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.memory_folder import memory_folder
from tests.harness.fakes.object_stores import (
    gateway,
    objects_in_memory,
    objects_of_gateway,
    objects_of_moto,
)

OpenFolder = Callable[[Path], AbstractContextManager[WorkFolder]]


@contextmanager
def local_folder(path: Path) -> Iterator[WorkFolder]:
    yield LocalFolder(path)


@contextmanager
def folder_in_memory(path: Path) -> Iterator[WorkFolder]:
    yield memory_folder(path)


# On this machine, and for work: these can append, and have empty folders.
WORK_FOLDERS: list[OpenFolder] = [local_folder, folder_in_memory]
OBJECT_FOLDERS: list[OpenFolder] = [objects_in_memory, objects_of_moto]
if gateway() is not None:
    OBJECT_FOLDERS.append(objects_of_gateway)
FOLDERS = WORK_FOLDERS + OBJECT_FOLDERS
# These take any number of writers at once.
WITHOUT_A_LOCK: list[OpenFolder] = [folder_in_memory, *OBJECT_FOLDERS]


@pytest.fixture(params=FOLDERS, ids=lambda open_folder: open_folder.__name__)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WorkFolder]:
    yield from made(request.param, tmp_path)


@pytest.fixture(params=WORK_FOLDERS, ids=lambda open_folder: open_folder.__name__)
def work_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WorkFolder]:
    yield from made(request.param, tmp_path)


def made(open_folder: OpenFolder, path: Path) -> Iterator[WorkFolder]:
    with open_folder(path / "dir") as folder:
        folder.make()
        yield folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def content(file: StoredFile) -> bytes | None:
    return file.read(bytes_max=1 << 20) if file.is_there() else None


def write_half(opened: AbstractContextManager[HashedFile], error: type[BaseException]) -> None:
    with opened as file:
        file.write(b"half of the new")
        raise error


def test_a_written_file_is_read_back_and_hashed(folder: WorkFolder) -> None:
    file = folder.file("a")

    assert file.write(b"content") == sha256(b"content")
    assert file.hash() == (7, sha256(b"content"))
    assert content(file) == b"content"


def test_an_empty_file_is_a_file(folder: WorkFolder) -> None:
    folder.file("a").write(b"")

    assert (folder.names(), content(folder.file("a"))) == (["a"], b"")


def test_many_writes_are_one_file_with_one_hash(folder: WorkFolder) -> None:
    blocks = [bytes([number]) * 70_000 for number in range(5)]
    with folder.open_to_write("a") as file:
        for block in blocks:
            file.write(block)

    whole = b"".join(blocks)
    assert (file.bytes, file.sha256) == (len(whole), sha256(whole))
    assert content(folder.file("a")) == whole


def test_nothing_shows_before_the_block_ends(folder: WorkFolder) -> None:
    with folder.open_to_write("a") as file:
        file.write(b"half")
        file.flush()
        assert not folder.has("a")
        assert not folder.has_file("a")

    assert folder.names() == ["a"]


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_former_file(
    folder: WorkFolder, old: bytes | None, error: type[BaseException]
) -> None:
    if old is not None:
        folder.file("a").write(old)
    for open_ in (folder.open_to_write, folder.open_to_create):
        with pytest.raises(error):
            write_half(open_("a"), error)

    assert content(folder.file("a")) == old
    assert folder.names() == ([] if old is None else ["a"])


def test_a_write_takes_the_place_of_the_former_file(folder: WorkFolder) -> None:
    folder.file("a").write(b"a longer old one")
    folder.file("a").write(b"new")

    assert content(folder.file("a")) == b"new"


def test_a_create_makes_a_file_once(folder: WorkFolder) -> None:
    file = folder.file("a")

    assert [file.create(b"content") for _ in range(3)] == [sha256(b"content")] * 3
    assert folder.names() == ["a"]


def test_a_create_never_replaces_other_bytes(folder: WorkFolder) -> None:
    file = folder.file("a")
    file.create(b"first")

    with pytest.raises(PreconditionError) as caught:
        file.create(b"other")
    assert sha256(b"first") in str(caught.value)
    assert sha256(b"other") in str(caught.value)
    assert content(file) == b"first"
    assert folder.names() == ["a"]


@pytest.mark.parametrize("open_folder", WITHOUT_A_LOCK)
def test_of_many_creators_one_wins(tmp_path: Path, open_folder: OpenFolder) -> None:
    """A local folder has one writer: the holder of the lock."""
    with open_folder(tmp_path / "dir") as folder:
        folder.make()
        assert_one_wins(folder)


def assert_one_wins(folder: WorkFolder) -> None:
    start = Barrier(24)

    def create(number: int) -> bool:
        start.wait()
        try:
            folder.file("a").create(b"%d" % number)
        except PreconditionError:
            return False
        return True

    with ThreadPoolExecutor(24) as threads:
        won = list(threads.map(create, range(24)))

    assert sum(won) == 1
    assert content(folder.file("a")) == b"%d" % won.index(True)


def test_an_open_file_is_whole_and_seekable(folder: WorkFolder) -> None:
    table = pa.table({"row": list(range(1000))})
    with folder.open_to_write("a.parquet") as out, pq.ParquetWriter(out, table.schema) as writer:
        writer.write_table(table, row_group_size=100)

    with folder.open_to_read("a.parquet") as file:
        assert file.seek(0, io.SEEK_END) == folder.file("a.parquet").hash()[0]
        file.seek(0)
        parquet = pq.ParquetFile(file)
        assert parquet.read_row_group(7).column("row").to_pylist() == list(range(700, 800))


def test_an_open_file_stays_the_same_when_it_is_replaced(folder: WorkFolder) -> None:
    folder.file("a").write(b"old content")
    with folder.open_to_read("a") as file:
        assert file.read(3) == b"old"
        folder.file("a").write(b"new")
        assert file.read() == b" content"


def test_an_absent_file_is_a_failure_to_read(folder: WorkFolder) -> None:
    with pytest.raises(LocalStorageError, match=r"reading .*/none"):
        folder.file("none").read(bytes_max=10)
    with pytest.raises(LocalStorageError, match=r"reading .*/none"):
        folder.file("none").hash()

    assert not folder.file("none").is_there()


def test_an_empty_folder_is_there(work_folder: WorkFolder) -> None:
    work_folder.child("inner").make()

    assert (work_folder.names(), work_folder.has("inner")) == (["inner"], True)
    assert work_folder.has_folder("inner")
    with pytest.raises(LocalStorageError, match=r"reading .*/inner"):
        work_folder.has_file("inner")


def test_a_folder_is_no_file(folder: WorkFolder) -> None:
    folder.child("inner").make()
    folder.child("inner").file("a").write(b"")

    assert folder.has("inner")
    with pytest.raises(LocalStorageError, match=r"reading .*/inner"):
        folder.has_file("inner")


@pytest.mark.parametrize("size", [10, 11])
def test_a_file_is_read_up_to_the_bound(folder: WorkFolder, size: int) -> None:
    folder.file("a").write(b"x" * size)

    assert folder.file("a").read(bytes_max=11) == b"x" * size
    if size > 10:
        with pytest.raises(ArtefactDamagedError, match=r"/a[^/:]*(\?.*)?: larger than 10 B"):
            folder.file("a").read(bytes_max=10)


def test_names_are_sorted_and_hold_files_and_folders(folder: WorkFolder) -> None:
    for name in ("b", "a", "C", "é"):
        folder.file(name).write(b"")
    folder.child("ab").make()
    folder.child("ab").file("inner").write(b"")

    assert folder.names() == sorted(["C", "a", "ab", "b", "é"])


def test_an_absent_folder_holds_nothing(folder: WorkFolder) -> None:
    absent = folder.child("absent")

    assert (absent.names(), absent.has("a"), absent.has_file("a")) == ([], False, False)
    assert not folder.has("absent")


def test_making_a_folder_makes_those_above_it_and_repeats(folder: WorkFolder) -> None:
    inner = folder.child("outer").child("inner")
    inner.make()
    inner.file("a").write(b"content")
    inner.make()

    assert content(inner.file("a")) == b"content"
    assert (folder.names(), folder.child("outer").names()) == (["outer"], ["inner"])


def test_clearing_removes_a_folder_with_everything_in_it(folder: WorkFolder) -> None:
    folder.child("outer-too").make()
    folder.child("outer-too").file("a").write(b"")
    folder.child("outer").child("inner").make()
    folder.child("outer").child("inner").file("a").write(b"content")
    for _ in range(2):
        folder.child("outer").clear()

        assert folder.names() == ["outer-too"]


def test_removing_a_file_repeats(folder: WorkFolder) -> None:
    folder.file("a").write(b"content")
    for _ in range(2):
        folder.file("a").remove()

        assert folder.names() == []


def test_a_folder_without_links_refuses_none(folder: WorkFolder) -> None:
    folder.child("inner").make()
    folder.refuse_links("inner", "absent")


def test_addresses_name_what_they_lead_to(folder: WorkFolder) -> None:
    inner = folder.child("outer").child("inner")

    assert (inner.name, inner.parent.name) == ("inner", "outer")
    assert (inner.parent, inner.parent.parent) == (folder.child("outer"), folder)
    start, mark, query = str(folder).partition("?")
    assert str(inner) == f"{start}/outer/inner{mark}{query}"
    assert str(inner) == folder.child("outer").address("inner")
    assert str(inner.file("a")) == f"{start}/outer/inner/a{mark}{query}" == inner.address("a")
    assert inner != folder.child("outer")


def test_an_appender_adds_to_the_end(work_folder: WorkFolder) -> None:
    for line in (b"one\n", b"two\n"):
        size = len(content(work_folder.file("log")) or b"")
        appender = work_folder.appender("log", size=size)
        appender.append(line)
        appender.append(line)
        appender.close()
        appender.close()

    assert content(work_folder.file("log")) == b"one\none\ntwo\ntwo\n"


def test_an_appender_cuts_what_lies_behind_its_start(work_folder: WorkFolder) -> None:
    work_folder.file("log").write(b"one\ntorn")
    appender = work_folder.appender("log", size=4)
    assert content(work_folder.file("log")) == b"one\ntorn"
    appender.append(b"two\n")
    appender.close()

    assert content(work_folder.file("log")) == b"one\ntwo\n"


def test_an_appender_of_an_absent_folder_is_a_failure(work_folder: WorkFolder) -> None:
    appender = work_folder.child("absent").appender("log", size=0)

    with pytest.raises(LocalStorageError, match=r"appending to .*/log"):
        appender.append(b"one\n")


def test_scratch_space_is_a_local_path(folder: WorkFolder) -> None:
    path = folder.scratch("spill")
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"content")


def test_a_file_is_no_folder_and_a_folder_is_no_file(folder: WorkFolder) -> None:
    folder.file("a").write(b"")
    folder.child("b").make()
    folder.child("b").file("e").write(b"")
    folder.child("c").make()
    folder.child("c").file("d").write(b"")

    assert [folder.has_folder(name) for name in ("a", "b", "c", "absent")] == [
        False,
        True,
        True,
        False,
    ]
    assert folder.has_file("a")


def test_the_room_is_a_number_or_has_no_limit(folder: WorkFolder) -> None:
    room = folder.room_bytes()

    assert room is None or room > 0


def test_a_check_reads_what_was_written_before_it_has_its_name(folder: WorkFolder) -> None:
    read: list[tuple[bytes, bool]] = []

    def check(written: StoredFile) -> None:
        read.append((written.read(bytes_max=100), folder.has("a")))

    with folder.open_to_create("a", check=check) as file:
        file.write(b"content")

    assert read == [(b"content", False)]
    assert content(folder.file("a")) == b"content"
    assert folder.names() == ["a"]


@pytest.mark.parametrize(
    "error", [ArtefactDamagedError("damaged", remedy="none"), KeyboardInterrupt()]
)
def test_what_a_check_refuses_is_not_created(folder: WorkFolder, error: BaseException) -> None:
    def check(_: StoredFile) -> None:
        raise error

    with pytest.raises(type(error)), folder.open_to_create("a", check=check) as file:
        file.write(b"content")

    assert folder.names() == []
