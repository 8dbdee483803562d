"""Texts stand within the width of the terminal; colours only where a terminal shows them."""

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from q2v.output.screen.table import TableRow, write_table
from q2v.output.screen.wrapping import wrapped

ROWS = [
    TableRow(mark="ok", name="source", text="qdrant at a place"),
    TableRow(mark="fail", name="token", text="refused", advice="first\nthen `q2v init --dir x`"),
]
WORD = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    @override
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def on_a_terminal(rows: list[TableRow]) -> str:
    """What a terminal gets of these rows."""
    stream = Terminal()
    with contextlib.redirect_stdout(stream):
        write_table(rows)
    return stream.getvalue()


@given(st.lists(WORD, min_size=1, max_size=40), st.integers(20, 120))
def test_wrapped_text_keeps_every_word_and_stays_within_the_width(
    words: list[str], width: int
) -> None:
    lines = wrapped(" ".join(words), first="> ", then="  ", width=width)

    assert all(len(line) <= width for line in lines)
    assert " ".join(line[2:] for line in lines).split() == words


def test_a_command_in_backquotes_is_never_broken() -> None:
    command = "`q2v migrate --dir /some/place --into-non-empty`"
    lines = wrapped(f"in this case you should then run {command} and look", width=40)

    assert sum(command in line for line in lines) == 1


def test_each_piece_of_advice_stands_on_lines_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_table(ROWS)

    assert capsys.readouterr().out.splitlines() == [
        "ok    source  qdrant at a place",
        "fail  token   refused",
        "              -> first",
        "              -> then `q2v init --dir x`",
    ]


def test_on_a_terminal_the_mark_has_a_colour() -> None:
    assert "\x1b[31mfail\x1b[0m  token" in on_a_terminal(ROWS)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_gets_none(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    assert "\x1b" not in on_a_terminal(ROWS)


def test_a_text_from_outside_brings_no_colours_or_controls_of_its_own() -> None:
    shown = on_a_terminal([TableRow(mark="ok", name="x", text="a\x1b[2Jb\rc")])

    assert shown.count("\x1b") == 2  # those of the mark
    assert "\r" not in shown
