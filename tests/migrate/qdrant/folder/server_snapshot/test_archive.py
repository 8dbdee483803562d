"""Archives that no server writes: nothing of them is unpacked, and each is refused in words."""

import io
import tarfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import PreconditionError
from migrate.qdrant.folder.server_snapshot.archive import Archive
from tests.harness.running.programs import run_program
from tests.harness.tiers import examples
from tests.servers.on_disk.qdrant_snapshot import member, pack

pytestmark = pytest.mark.fault("M21")

WHOLE = pack({"config.json": b"{}", "0/wal/first": b"x" * 700, "0/" + "long" * 40: b"y"})


def opened(content: bytes) -> Archive:
    return Archive(io.BytesIO(content), "the file")


def refused(content: bytes) -> str:
    with pytest.raises(
        PreconditionError, match="the file is no snapshot that q2v can read"
    ) as caught:
        opened(content)
    return str(caught.value)


def read(archive: Archive) -> dict[str, bytes]:
    found = {}
    for path in archive.paths:
        with archive.opened(path) as file:
            found[str(path)] = file.read()
    return found


def test_files_are_read_under_their_paths() -> None:
    folders = member("./", kind=tarfile.DIRTYPE) + member("./0/", kind=tarfile.DIRTYPE)

    assert read(opened(folders + pack({"./0/a": b"1", "b": b""}))) == {"0/a": b"1", "b": b""}
    assert sorted(read(opened(WHOLE))) == ["0/" + "long" * 40, "0/wal/first", "config.json"]


@pytest.mark.parametrize("path", ["../a", "0/../../a", "/etc/a", "0/.."])
def test_a_path_that_leads_out_of_the_folder_is_refused(path: str) -> None:
    assert "leads out of its folder" in refused(pack({path: b"bad"}))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
        b"D", b"V",
    ],
)  # fmt: skip
def test_what_is_neither_a_file_nor_a_folder_is_refused(kind: bytes) -> None:
    said = refused(member("0", kind=kind, link="/etc") + WHOLE)

    assert "is neither a file nor a folder" in said


def test_a_path_twice_and_a_file_that_is_a_folder_too_are_refused() -> None:
    assert "it has a twice" in refused(member("a", b"1") + pack({"./a": b"2"}))
    assert "a is both a file and a folder" in refused(member("a", b"1") + pack({"a/b": b"2"}))
    assert "a is both a file and a folder" in refused(member("a/b", b"1") + pack({"a": b"2"}))


def test_too_many_members_and_too_many_folders_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is too deep" in refused(pack({"a/" * 20 + "b": b""}))
    monkeypatch.setattr("migrate.qdrant.folder.server_snapshot.archive.MEMBERS_MAX", 2)
    assert "it has more than 2 members" in refused(WHOLE)


@pytest.mark.parametrize("name", ["n" * 256, "n" * 5_000_000, "ü" * 128], ids=len)
def test_a_name_that_no_file_can_have_is_refused_and_not_shown_whole(name: str) -> None:
    said = refused(pack({f"0/{name}": b""}))

    assert "has a longer name than a file can have" in said
    assert len(said) < 400


@given(length=st.integers(0, len(WHOLE) - 1))
@settings(max_examples=examples(60), deadline=None)
def test_an_archive_that_is_cut_anywhere_is_refused(length: int) -> None:
    refused(WHOLE[:length])


@given(position=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
@settings(max_examples=examples(200), deadline=None)
def test_a_flipped_bit_is_refused_or_only_in_a_content(position: int, bit: int) -> None:
    """A header has a check sum, which the library compares; contents are checked by no archive."""
    damaged = bytearray(WHOLE)
    damaged[position] ^= 1 << bit
    try:
        found = read(opened(bytes(damaged)))
    except PreconditionError:
        return
    whole = read(opened(WHOLE))
    assert found.keys() == whole.keys()
    assert sum(map(len, found.values())) == sum(map(len, whole.values()))


@pytest.mark.parametrize("content", [b"", b"x", b"\x1f\x8b" + bytes(2000), bytes(511), b"q" * 5000])
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    refused(content)


def test_an_archive_without_a_member_holds_no_file() -> None:
    assert opened(bytes(1024)).paths == ()


def test_more_after_the_end_is_refused() -> None:
    assert "is damaged" in refused(WHOLE + WHOLE)


def test_a_sparse_file_is_unpacked_with_room_for_its_holes(tmp_path: Path) -> None:
    """The server's library writes sparse files as GNU tar does; the engine fills holes."""
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(8_000_000)
        file.seek(4_000_000)
        file.write(b"in the middle")
    words = ("--sparse", "--format=gnu", "-b1", "-cf", tmp_path / "tar", "-C", tmp_path, "sparse")
    assert run_program("tar", *words).returncode == 0
    made = (tmp_path / "tar").read_bytes()
    assert len(made) < 100_000

    opened(made).unpack(PurePosixPath("sparse"), tmp_path / "unpacked")

    assert (tmp_path / "unpacked").read_bytes() == sparse.read_bytes()
    assert (tmp_path / "unpacked").stat().st_blocks * 512 >= 8_000_000


def test_a_sparse_file_with_impossible_ranges_is_refused() -> None:
    info = tarfile.TarInfo("a")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398] = b"77777777777\0"  # where the only range starts
    header[398:410] = b"00000001000\0"  # its length
    header[483:495] = b"00000001000\0"  # the size of the file
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()

    assert "it ends before its member 'a' does" in refused(bytes(header) + bytes(512 + 1024))
