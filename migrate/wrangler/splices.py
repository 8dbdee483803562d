"""Change a text in few places: each splice names what it replaces, and all else is kept."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from migrate.wrangler.nodes import Container

Item = Callable[[str | None], str]  # indentation (None: on one line) -> the text of a new member


@dataclass(frozen=True, slots=True)
class Splice:
    """Put `text` in the place of the text from `start` to `end`."""

    start: int
    end: int
    text: str


def apply(text: str, splices: Iterable[Splice]) -> str:
    """The text with all splices, which are in order and do not overlap."""
    parts, at = [], 0
    for splice in splices:
        assert at <= splice.start <= splice.end
        parts += [text[at : splice.start], splice.text]
        at = splice.end
    return "".join([*parts, text[at:]])


def line_end_of(text: str) -> str:
    """How the first line of the text ends; a line feed when there is one line only."""
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def indentation(text: str, offset: int) -> str:
    """The blanks at the start of the line that holds the offset."""
    start = text.rfind("\n", 0, offset) + 1
    return text[start : _behind_blanks(text, start)]


def end_of_line(text: str, offset: int) -> int:
    """Where the line ends that holds the offset, before its line end."""
    end = text.find("\n", offset)
    end = len(text) if end == -1 else end
    return end - 1 if text[end - 1 : end] == "\r" and end > offset else end


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a file is written."""

    line_end: str
    unit: str  # one level of indentation
    comment: re.Pattern[str]
    in_one_line: bool = False  # what is added to an empty container has no line of its own


def insert(text: str, container: Container, item: Item, style: Style) -> list[Splice]:
    """Add a member to a table or list in brackets, as its last one, in the manner of the others.

    `item` gives the member's text for the indentation of its line.
    """
    if not container.members:
        return [_first(text, container, item, style)]
    last = container.members[-1]
    comma = _comma_after(text, last.node.end, container.end - 1, style.comment)
    behind = last.node.end if comma is None else comma + 1
    separator = [Splice(behind, behind, ",")] if comma is None else []
    trailing = "" if comma is None else ","
    at = _rest_of_line(text, behind, style.comment)
    if text[at] not in "\r\n":
        return [*separator, Splice(at, at, f" {item(None)}{trailing}")]
    indent = indentation(text, last.start)
    if text[: last.start].rpartition("\n")[2] != indent:  # it does not begin its line
        indent += style.unit
    return [*separator, Splice(at, at, f"{style.line_end}{indent}{item(indent)}{trailing}")]


def _first(text: str, container: Container, item: Item, style: Style) -> Splice:
    """The first member of an empty table or list, which may hold comments."""
    close = container.end - 1
    outer = indentation(text, container.start)
    indent, inside = outer + style.unit, text[container.start + 1 : close]
    _, break_, last = inside.rpartition("\n")
    if break_ and not last.strip(" \t"):
        at = close - len(last)
        return Splice(at, at, f"{indent}{item(indent)}{style.line_end}")
    if "\n" in text and not style.in_one_line:
        line = f"{style.line_end}{indent}{item(indent)}{style.line_end}{outer}"
        return Splice(close, close, line)
    return Splice(close, close, item(None))


def _comma_after(text: str, at: int, close: int, comment: re.Pattern[str]) -> int | None:
    """The comma between a member and the closing bracket; None without one."""
    while at < close:
        if text[at] == ",":
            return at
        found = comment.match(text, at)
        at = at + 1 if found is None else found.end()
    return None


def _rest_of_line(text: str, at: int, comment: re.Pattern[str]) -> int:
    """Behind blanks and comments that follow in the same line, if a line end follows them.

    Otherwise the offset itself.
    """
    here = at
    while True:
        after = _behind_blanks(text, here)
        found = comment.match(text, after)
        if found is None:
            return after if text[after] in "\r\n" else at
        here = found.end()


def _behind_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in {" ", "\t"}:
        at += 1
    return at
