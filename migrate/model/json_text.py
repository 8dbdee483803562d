"""Read JSON text that JSON libraries refuse: any depth, any number of digits. Without recursion.

Three things make a library refuse what the grammar allows: nesting, integers of thousands of
digits, and numbers beyond the doubles. This module splits the text by its grammar alone.
Such a value is separated from the values beside it, and from text that is not JSON.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

# What fits in Python's own parser and encoder, less the frames of a program around them. The
# bound is q2v's own: theirs depends on the depth of the caller, and the same payload has to have
# the same form in every process and thread.
DEPTH_MAX = 989
DIGITS_MAX = 4300  # of an integer; Python refuses longer ones, since they take quadratic time

_TOKEN = re.compile(
    r"[ \t\n\r]*+(?:"
    r"(?P<mark>[{}\[\],:])"
    r'|(?P<text>"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)"
    r"|(?P<word>true|false|null)"
    r")"
)
_WHITE_SPACE = " \t\n\r"
_CLOSERS = {"{": "}", "[": "]"}
_ENDS = frozenset(_CLOSERS.values())
_INTEGER = re.compile(r"-?[0-9]++")

Pairs = list[tuple[str, object]]


class RefusedJsonError(ValueError):
    """Valid JSON by its grammar that JSON libraries refuse."""


@dataclass(frozen=True, slots=True)
class Token:
    """One bracket, key or single value of a JSON text, in a place where the grammar allows it."""

    kind: str  # { } [ ] key text number word
    text: str
    start: int  # place in the whole text
    end: int


@dataclass(frozen=True, slots=True)
class Raw:
    """A value as the text it was sent as."""

    text: str


def read_tokens(text: str) -> Iterator[Token]:
    """The tokens of a text that holds one JSON value. Raises ValueError where it does not."""
    open_: list[str] = []
    allowed = "value"
    at = 0
    while allowed != "nothing":
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"no JSON at character {at}")
        at = found.end()
        kind = found.lastgroup or ""
        token = Token(kind, found[kind], found.start(kind), at)
        kind, allowed = _follow(token, allowed, open_)
        if kind:
            yield Token(kind, token.text, token.start, token.end)
    if text[at:].strip(_WHITE_SPACE):
        raise ValueError(f"more than one JSON value: the second at character {at}")


def _follow(token: Token, allowed: str, open_: list[str]) -> tuple[str, str]:
    """The kind of the token, "" for a comma or colon, and what may stand after it."""
    mark = token.text if token.kind == "mark" else ""
    inner = open_[-1] if open_ else ""
    if mark in _CLOSERS and allowed.startswith("value"):
        open_.append(mark)
        return mark, "key or end" if mark == "{" else "value or end"
    if mark and mark == _CLOSERS.get(inner) and allowed.endswith("end"):
        open_.pop()
        return mark, _after_value(open_)
    if (mark, allowed) == (",", "comma or end"):
        return "", "key" if inner == "{" else "value"
    if (mark, allowed) == (":", "colon"):
        return "", "value"
    if token.kind == "text" and allowed.startswith("key"):
        return "key", "colon"
    if not mark and allowed.startswith("value"):
        return token.kind, _after_value(open_)
    raise ValueError(f"{allowed} expected at character {token.start}")


def _after_value(open_: list[str]) -> str:
    return "comma or end" if open_ else "nothing"


def read_json(text: str, make_object: Callable[[Pairs], dict[str, object]]) -> object:
    """The value; objects are what `make_object` makes of their pairs.

    Raises RefusedJsonError for what libraries refuse, ValueError for text that is not JSON.
    """
    return _Builder(text, make_object, _read_single, levels=DEPTH_MAX, deeper=False).build()


def read_outline(text: str, levels: int) -> object:
    """The value with its first `levels` levels as lists and dicts, and below them `Raw` text.

    Text below them is checked for its grammar only. Raises ValueError for text that is not JSON.
    """
    return _Builder(text, dict, Raw, levels=levels, deeper=True).build()


class _Builder:
    """Build the containers of the first levels; a deeper value is kept as one text."""

    def __init__(
        self,
        text: str,
        make_object: Callable[[Pairs], dict[str, object]],
        read_single: Callable[[str], object],
        *,
        levels: int,
        deeper: bool,
    ) -> None:
        """With `deeper` False, values below the levels are refused."""
        self._text = text
        self._make_object = make_object
        self._read_single = read_single
        self._levels = levels
        self._deeper = deeper
        self._depth = 0
        self._raw_start = 0  # of the deeper value that is skipped
        self._open = [_Container("[")]  # the innermost last; the first holds the whole value

    def build(self) -> object:
        """The value of the whole text."""
        for token in read_tokens(self._text):
            if token.kind in _CLOSERS:
                self._begin(token)
            elif token.kind in _ENDS:
                self._end(token)
            elif self._depth > self._levels:
                continue
            elif token.kind == "key":
                self._open[-1].keys.append(json.loads(token.text))
            else:
                self._open[-1].values.append(self._read_single(token.text))
        return self._open[0].values[0]

    def _begin(self, token: Token) -> None:
        self._depth += 1
        if self._depth <= self._levels:
            self._open.append(_Container(token.kind))
        elif not self._deeper:
            raise RefusedJsonError(f"nesting of more than {self._levels} levels")
        elif self._depth == self._levels + 1:
            self._raw_start = token.start

    def _end(self, token: Token) -> None:
        self._depth -= 1
        if self._depth < self._levels:
            ended = self._open.pop()
            value: object = ended.values
            if ended.kind == "{":
                value = self._make_object(list(zip(ended.keys, ended.values, strict=True)))
            self._open[-1].values.append(value)
        elif self._depth == self._levels:
            self._open[-1].values.append(self._read_single(self._text[self._raw_start : token.end]))


@dataclass(frozen=True, slots=True)
class _Container:
    """A list or an object that is not closed yet."""

    kind: str  # { or [
    keys: list[str] = field(default_factory=list)
    values: list[object] = field(default_factory=list)


def _read_single(text: str) -> object:
    """A text, number or word."""
    if _INTEGER.fullmatch(text) and len(text.lstrip("-")) > DIGITS_MAX:
        raise RefusedJsonError(f"an integer of more than {DIGITS_MAX} digits")
    value: object = json.loads(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise RefusedJsonError("a number beyond the doubles")
    return value
