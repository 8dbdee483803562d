"""Read TOML with the place of each part: tomllib judges the text, then its places are found.

tomlkit, which keeps comments, does not give back every byte: decision 0040.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from migrate.wrangler.nodes import DEPTH_MAX, Container, Member, Node, Path, Scalar, Text, refused

COMMENT = re.compile(r"#[^\r\n]*")
_TRIVIA = re.compile(rf"(?:[ \t\r\n]|{COMMENT.pattern})*")
_KEY_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_STRINGS = (  # in this order: the first three also begin as the last two
    re.compile(r'"""(?:[^\\]|\\.)*?""""{0,2}', re.DOTALL),
    re.compile(r"'''.*?''''{0,2}", re.DOTALL),
    re.compile(r'"(?:[^"\\]|\\.)*"'),
    re.compile(r"'[^']*'"),
)
_OTHER = re.compile(r"[^,\]}\r\n#]*[^,\]}\s#]")
_PLACE = re.compile(r"(?P<what>.*?) \((?:at (?P<place>line \d+, column \d+)|at end of document)\)")


@dataclass(frozen=True, slots=True)
class Statement:
    """`key = value`."""

    path: Path  # from the root of the file
    start: int
    node: Node


@dataclass(frozen=True, slots=True)
class Section:
    """A header with the statements below it; the first section has no header."""

    path: Path
    is_list: bool  # [[path]]
    start: int  # of the header
    header_end: int
    statements: tuple[Statement, ...]

    @property
    def end(self) -> int:
        """After the last statement, or after the header."""
        return self.statements[-1].node.end if self.statements else self.header_end


def parse_toml(source: Text) -> dict[str, Any]:
    """The values, floats as their text. Raises UsageError with line and column."""
    try:
        return tomllib.loads(source.text, parse_float=str)
    except RecursionError as error:
        raise source.refused(0, f"more than {DEPTH_MAX} levels", "fewer") from error
    except ValueError as error:  # TOMLDecodeError, and a number of too many digits
        found = _PLACE.fullmatch(str(error))
        what = f"a syntax error ({found['what'] if found else error})"
        if found and found["place"]:
            raise refused(source.file, found["place"], what, "TOML") from error
        raise source.refused(len(source.text), what, "TOML") from error


def scan_toml(source: Text) -> list[Section]:
    """The sections of a text that `parse_toml` has taken."""
    return _Scanner(source).sections()


class _Scanner:
    def __init__(self, source: Text) -> None:
        self._source, self._text = source, source.text

    def sections(self) -> list[Section]:
        """All of them, in order."""
        found: list[Section] = []
        path, is_list, start, header_end = Path(), False, 0, 0
        statements: list[Statement] = []
        at = self._skip(0)
        while at < len(self._text):
            if self._text.startswith("[", at):
                found.append(Section(path, is_list, start, header_end, tuple(statements)))
                is_list, start, statements = self._text.startswith("[[", at), at, []
                width = 2 if is_list else 1
                path, at = self._key(self._skip(at + width))
                header_end = at = self._text.index("]", at) + width
            else:
                member = self._member(at, 0)
                statements.append(Statement(path + member.path, at, member.node))
                at = member.node.end
            at = self._skip(at)
        found.append(Section(path, is_list, start, header_end, tuple(statements)))
        return found

    def _skip(self, at: int) -> int:
        return _matched(_TRIVIA, self._text, at)

    def _key(self, at: int) -> tuple[Path, int]:
        """A key with its dots, and where it ends."""
        path: list[str] = []
        while True:
            end = _matched(_KEY_PART, self._text, at)
            path += tomllib.loads(f"{self._text[at:end]} = 0")
            dot = _DOT.match(self._text, end)
            if dot is None:
                return tuple(path), end
            at = dot.end()

    def _member(self, at: int, depth: int) -> Member:
        path, end = self._key(at)
        value_at = self._skip(self._text.index("=", end) + 1)
        return Member(path, at, self._value(value_at, depth))

    def _value(self, at: int, depth: int) -> Node:
        if self._text.startswith("[", at):
            return self._container(at, depth, "]", lambda here: self._element(here, depth + 1))
        if self._text.startswith("{", at):
            return self._container(at, depth, "}", lambda here: self._member(here, depth + 1))
        for pattern in _STRINGS:
            if found := pattern.match(self._text, at):
                return Scalar(at, found.end(), tomllib.loads(f"x = {found[0]}")["x"])
        end = _matched(_OTHER, self._text, at)
        return Scalar(at, end, ("literal", self._text[at:end]))

    def _element(self, at: int, depth: int) -> Member:
        return Member((), at, self._value(at, depth))

    def _container(
        self, start: int, depth: int, close: str, read: Callable[[int], Member]
    ) -> Container:
        if depth > DEPTH_MAX:
            raise self._source.refused(start, f"more than {DEPTH_MAX} levels", "fewer")
        members: list[Member] = []
        at = self._skip(start + 1)
        while not self._text.startswith(close, at):
            members.append(read(at))
            at = self._skip(members[-1].node.end)
            if self._text.startswith(",", at):
                at = self._skip(at + 1)
        return Container(start, at + 1, close == "]", tuple(members))


def _matched(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where a match at this place ends. There is one, because tomllib has taken the text."""
    found = pattern.match(text, at)
    assert found is not None, f"offset {at}"
    return found.end()
