"""Results: short lines for people, or exactly one JSON document."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from q2v.output.logs import PROCESS_MASKER
from q2v.output.render import encode_document, format_bytes, format_duration, format_value, render
from q2v.output.terminal import escape_lines, escape_terminal, write_text
from q2v.secret_files import Secret
from tests.harness.tiers import examples

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@dataclass(frozen=True)
class Counts:
    """A report as stages return them."""

    points: int
    path: Path


def test_people_get_aligned_lines_with_readable_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    render(
        {},
        [
            ("points", 1_234_567),
            ("snapshot", "20250102"),
            ("ratio", 0.5),
            ("waived", None),
            ("equal", True),
        ],
        as_json=False,
        notes=["next: q2v migrate"],
    )

    assert capsys.readouterr().out == (
        "points    1,234,567\n"
        "snapshot  20250102\n"
        "ratio     0.50\n"
        "waived    -\n"
        "equal     yes\n"
        "next: q2v migrate\n"
    )


@pytest.mark.slow
@settings(max_examples=examples(40))  # deep documents take long to draw
@given(st.dictionaries(st.text(), JSON_VALUES))
def test_a_document_is_one_line_of_ascii_that_reads_back(document: dict[str, object]) -> None:
    text = encode_document(document)

    assert text.isascii()
    assert text.count("\n") == 1
    assert json.loads(text) == document


def test_reports_and_paths_go_into_the_document_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render({"counts": Counts(points=1_000, path=Path("a/b")), "ids": ("x",)}, [], as_json=True)

    assert json.loads(capsys.readouterr().out) == {
        "counts": {"points": 1000, "path": "a/b"},
        "ids": ["x"],
    }


@pytest.mark.parametrize("value", [Secret("hunter2hunter2"), object(), {1, 2}])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="has no JSON form"):
        encode_document({"value": value})


def test_numbers_without_a_json_form_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_document({"value": float("nan")})


@pytest.mark.fault("X02")
def test_a_registered_secret_is_masked_in_lines_and_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = 'hunter2"render'
    PROCESS_MASKER.register(secret)

    render({}, [("found", f"a {secret}")], as_json=False, notes=[secret])
    render({secret: [f"a {secret}"]}, [], as_json=True)

    lines = capsys.readouterr().out.splitlines()
    assert lines == ["found  a ***", "***", '{"***": ["a ***"]}']


@pytest.mark.fault("X06")
@given(st.text(st.characters()))
def test_nothing_that_a_terminal_obeys_survives(text: str) -> None:
    escaped = escape_terminal(text)

    assert escaped.isprintable()
    assert escape_terminal(escaped) == escaped


def test_ordinary_text_is_left_alone() -> None:
    assert escape_terminal("naïve 文件 🎉 a b") == "naïve 文件 🎉 a b"
    assert escape_lines("a\n\x1b[31mb") == "a\n\\x1b[31mb"


def test_a_stream_that_cannot_hold_a_character_gets_its_escape(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="ascii") as stream:
        write_text(stream, "é")
    write_text(None, "nobody listens")

    assert path.read_bytes() == rb"\xe9"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (40_000_000, "40.0 MB"),
        (10**18, "1000.0 PB"),
    ],
)
def test_bytes_are_readable(size: int, shown: str) -> None:
    assert format_bytes(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.5, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3_599.6, "1 h 0 min"),
        (7_500, "2 h 5 min"),
        (97_200, "1 d 3 h"),
    ],
)
def test_durations_are_readable(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


def test_rendering_goes_to_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    render({"a": 1}, [], as_json=True)

    assert capsys.readouterr().err == ""
    assert sys.stdout is not None


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(1, "bytes", "1 byte"), (1.0, "seconds", "1 second"), (2, "bytes", "2 bytes"), (1, "", "1")],
)
def test_one_of_a_unit_is_singular(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text
