"""Headers have one form, which other programs read; paths lead nowhere else."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.archive.tar import BLOCK_BYTES, decode_header, encode_header, is_fit_path, span
from tests.migrate.archive.archives import tar_stream

COMPONENT = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,60}", fullmatch=True)
PATHS = st.lists(COMPONENT, min_size=1, max_size=6).map("/".join)
SIZES = st.one_of(st.integers(0, 2**40), st.sampled_from([8**11 - 1, 8**11, 8**11 + 1]))
UNFIT = (
    *("", "/", "/etc/passwd", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".hidden"),
    *("a/.q2v-tmp", "-rf", "a/-rf", "a b", "a\nb", "a\\b", "C:", "ä", "a\0b", "~root", "a*"),
    *("n" * 101, "p/" * 130 + "n", "p" * 156 + "/n"),
)


@given(PATHS, SIZES)
def test_a_header_says_path_and_size_and_nothing_else(path: str, size: int) -> None:
    if not is_fit_path(path):
        with pytest.raises(ValueError, match="no path of a member"):
            encode_header(path, size)
        return
    header = encode_header(path, size)

    assert len(header) == BLOCK_BYTES
    assert decode_header(header) == (path, size)


@given(PATHS.filter(is_fit_path), SIZES)
def test_python_reads_it_as_a_plain_file_without_an_owner(path: str, size: int) -> None:
    info = tarfile.TarInfo.frombuf(encode_header(path, size), "utf-8", "strict")

    assert (info.name, info.size, info.isreg(), info.linkname) == (path, size, True, "")
    assert (info.mode, info.mtime, info.uid, info.gid) == (0o600, 315_532_800, 0, 0)
    assert (info.uname, info.gname) == ("", "")


def test_python_reads_the_whole_stream() -> None:
    files = [("a/one", b""), ("a/two", b"x" * 513), ("b" * 90 + "/" + "c" * 90, b"y" * 512)]
    stream = tar_stream(files)
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        found = [(one.name, (tar.extractfile(one) or io.BytesIO()).read()) for one in tar]

    assert found == files
    assert len(stream) == sum(span(len(content)) for _, content in files) + 1024


@pytest.mark.fault("A03", "X04")
@pytest.mark.parametrize("path", UNFIT)
def test_a_path_that_could_lead_elsewhere_is_unfit(path: str) -> None:
    assert not is_fit_path(path)
    with pytest.raises(ValueError, match="no path of a member"):
        encode_header(path, 0)


@pytest.mark.fault("A03")
@given(st.integers(0, BLOCK_BYTES - 1), st.integers(0, 7))
def test_every_bit_of_a_header_counts(at: int, bit: int) -> None:
    header = bytearray(encode_header("a/" + "b" * 99, 8**11))
    header[at] ^= 1 << bit

    with pytest.raises(ValueError, match=r"header|path"):
        decode_header(bytes(header))
