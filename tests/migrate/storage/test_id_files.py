"""One id per line, whatever the id holds; every line gives its id back."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import UsageError
from migrate.storage.id_files import (
    ID_FILE_BYTES_MAX,
    encode_id,
    read_ids,
    read_typed_ids,
    write_ids,
    write_lines,
)
from migrate.storage.local_folder import local_file
from reconcile.diff import DriftKind
from tests.harness.fakes.memory_folder import memory_folder
from tests.harness.strategies import texts

TRAPS = [
    "",
    " ",
    " a",
    "a ",
    "a b",
    '"a"',
    'a"b',
    "a\nb",
    "+ a\n- b",
    "\r",
    "\t",
    "\x00",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\x9b31m",
    "\u2028",
    "\u202egnp",
    "\ufeff",
    "\ud800",
    "é🙂",
    "-rf",
    "$(x);`y`",
]


def decode_id(line: str) -> str:
    """What the documentation tells a reader: a leading quote means a JSON string."""
    return str(json.loads(line)) if line.startswith('"') else line


@pytest.mark.fault("X06", "B06")
@given(st.lists(texts() | st.sampled_from(TRAPS), max_size=8))
def test_ids_never_make_or_fake_a_line(ids: list[str]) -> None:
    """Not even for readers that split at every separator Unicode knows."""
    file = memory_folder().file("missing.ids")
    written = write_ids(file, ids)
    content = file.read(bytes_max=ID_FILE_BYTES_MAX).decode()
    again = read_ids(file)

    assert written == (len(ids), file.hash()[1])
    assert content.splitlines() == content.split("\n")[:-1]
    assert [decode_id(line) for line in content.splitlines()] == ids
    assert again == ids


@pytest.mark.fault("X06", "B06")
@pytest.mark.parametrize("text", TRAPS, ids=ascii)
def test_odd_ids_are_printable_and_come_back(text: str) -> None:
    line = encode_id(text)

    assert line.isprintable()
    assert line
    assert decode_id(line) == text


@pytest.mark.parametrize("text", ["file-1_0", "é🙂", "a b", 'a"b', "-rf", "{x}"])
def test_plain_ids_stay_as_they_are(text: str) -> None:
    assert encode_id(text) == text


@pytest.mark.fault("X06")
@given(
    st.lists(st.tuples(st.sampled_from(DriftKind), texts() | st.sampled_from(TRAPS)), max_size=6)
)
def test_combined_lines_are_a_symbol_and_an_id(drift: list[tuple[DriftKind, str]]) -> None:
    file = memory_folder().file("combined.ids")
    write_lines(file, (f"{kind.symbol} {encode_id(text)}" for kind, text in drift))
    lines = file.read(bytes_max=ID_FILE_BYTES_MAX).decode().splitlines()

    assert [(line[:2], decode_id(line[2:])) for line in lines] == [
        (f"{kind.symbol} ", text) for kind, text in drift
    ]


@pytest.mark.fault("X03")
def test_the_files_are_ours_alone(tmp_path: Path) -> None:
    write_ids(local_file(tmp_path / "ids"), ["a"])

    assert stat.S_IMODE((tmp_path / "ids").stat().st_mode) == 0o600


def test_a_line_that_is_no_id_is_refused_with_its_text(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text('"half a string\n')

    with pytest.raises(UsageError, match="half a string"):
        read_ids(local_file(tmp_path / "ids"))


def test_a_file_from_an_editor_names_the_ids_without_what_the_editor_adds(tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(b'\xef\xbb\xbffile-1_0\r\n  file-2_0 \r\n\r\n" a "\r\n')

    assert read_typed_ids(local_file(tmp_path / "ids")) == ["file-1_0", "file-2_0", " a "]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_typed_file_that_is_not_utf_8_is_refused(tmp_path: Path, encoding: str) -> None:
    """Its ids would name nothing, and the command would go on without them."""
    (tmp_path / "ids").write_text("größe_0\n", encoding=encoding)

    with pytest.raises(UsageError, match="no UTF-8"):
        read_typed_ids(local_file(tmp_path / "ids"))


@given(st.lists(texts() | st.sampled_from(TRAPS), max_size=6))
def test_a_file_that_was_written_here_reads_the_same_as_a_typed_one(ids: list[str]) -> None:
    file = memory_folder().file("force.ids")
    write_ids(file, ids)

    assert read_typed_ids(file) == read_ids(file) == ids
