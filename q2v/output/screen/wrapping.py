"""Wrap texts at the width of the terminal; commands and paths stay whole."""

import os
import re
import sys
import textwrap
from typing import TextIO

WIDTH_DEFAULT = 80  # also of a pipe, so that what is pasted reads as it was seen
_WIDTH_MAX = 120  # longer lines are hard to read
_WIDTH_MIN = 40
_QUOTED = re.compile(r"`[^`]+`")
_NO_BREAK = "\N{NO-BREAK SPACE}"


def width_here() -> int:
    """Columns to write in: the terminal's, between 40 and 120; 80 for a pipe."""
    columns = terminal_width(sys.stdout)
    return WIDTH_DEFAULT if columns is None else max(_WIDTH_MIN, min(columns, _WIDTH_MAX))


def terminal_width(stream: TextIO | None) -> int | None:
    """Columns of the terminal behind a stream; None where it is none, or does not say."""
    if stream is None or not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except OSError:
        return None


def wrapped(text: str, *, first: str = "", then: str = "", width: int | None = None) -> list[str]:
    """Lines of at most `width` columns, `first` before the first one and `then` before the others.

    A word longer than a line stays whole, and so does a command in backquotes: both are pasted.
    """
    lines = textwrap.wrap(
        _kept_whole(text),
        width_here() if width is None else width,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines] or [first.rstrip()]


def split_words(text: str) -> list[str]:
    """What is never broken: words, and commands in backquotes."""
    return [word.replace(_NO_BREAK, " ") for word in _kept_whole(text).split(" ")]


def _kept_whole(text: str) -> str:
    return _QUOTED.sub(lambda found: found[0].replace(" ", _NO_BREAK), text)
