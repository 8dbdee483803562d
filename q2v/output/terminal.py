"""Text that is safe to put on a terminal, whatever the data holds and the terminal can show."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FORMS: list[Callable[[str], str]] = []  # of what is written to stderr; the newest counts
_COPIES: list[Callable[[str], None]] = []  # who gets what is written, without colours


def can_ask() -> bool:
    """Whether a person can answer: stdin is a terminal. Python has None for a closed one."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def escape_terminal(text: str) -> str:
    """One line without control characters, ANSI escapes, or invisible and direction marks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def escape_lines(text: str) -> str:
    """The same for a text of q2v, whose line ends stay."""
    return "\n".join(map(escape_terminal, text.split("\n")))


def write_text(stream: TextIO | None, text: str) -> None:
    """Write and flush; characters the stream cannot encode come out escaped.

    None, which Python gives for a stream that the caller has closed, takes nothing. On stderr the
    text gets the form of `stderr_as`.
    """
    if text:
        copy_text(text)
    if _FORMS and stream is sys.stderr:
        text = _FORMS[-1](text)
    write_formed(stream, text)


def write_formed(stream: TextIO | None, text: str) -> None:
    """As `write_text`, for a text that has its form and is copied to no log."""
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


@contextmanager
def stderr_as(form: Callable[[str], str]) -> Iterator[None]:
    """While this lasts, `form` makes of every text for stderr what is written there."""
    _FORMS.append(form)
    try:
        yield
    finally:
        _FORMS.remove(form)


def is_formed() -> bool:
    """Whether `stderr_as` lasts: then nothing else may write there."""
    return bool(_FORMS)


@contextmanager
def copies_to(take: Callable[[str], None]) -> Iterator[None]:
    """While this lasts, `take` gets every text that is written, and those of `copy_text`."""
    _COPIES.append(take)
    try:
        yield
    finally:
        _COPIES.remove(take)


def copy_text(text: str) -> None:
    """Give a text to those who take copies, without writing it here."""
    for take in _COPIES:
        take(_COLOUR.sub("", text))
