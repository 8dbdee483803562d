"""Read JSON with comments and trailing commas, as wrangler takes it, with the place of each part.

There is no library for this: decision 0040.
"""

import json
import re

from migrate.wrangler.nodes import DEPTH_MAX, Container, Member, Node, Scalar, Text, shown

COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_TRIVIA = re.compile(rf"(?:[ \t\r\n]|{COMMENT.pattern})*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_LITERAL = re.compile(
    r"(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)(?![A-Za-z0-9_.+-])"
)


def scan_jsonc(source: Text) -> Container:
    """The object of the file. Raises UsageError with line and column for anything else.

    A key that an object holds twice is refused too, because wrangler takes the last one only.
    """
    scanner = _Scanner(source)
    start = scanner.skip(0)
    if not source.text.startswith("{", start):
        raise source.refused(start, shown(source.text, start), "an object, which begins with {")
    root = scanner.container(start, 0)
    end = scanner.skip(root.end)
    if end != len(source.text):
        raise source.refused(end, shown(source.text, end), "the end of the file")
    return root


class _Scanner:
    def __init__(self, source: Text) -> None:
        self._source, self._text = source, source.text

    def skip(self, offset: int) -> int:
        """Behind white space and comments."""
        found = _TRIVIA.match(self._text, offset)
        assert found is not None
        if self._text.startswith("/*", found.end()):
            raise self._source.refused(found.end(), "a comment without its end", "*/")
        return found.end()

    def container(self, start: int, depth: int) -> Container:
        """The object or list that begins at `start`."""
        if depth > DEPTH_MAX:
            raise self._source.refused(start, f"more than {DEPTH_MAX} levels", "fewer")
        is_list = self._text[start] == "["
        close = "]" if is_list else "}"
        members: list[Member] = []
        at = self.skip(start + 1)
        while not self._text.startswith(close, at):
            members.append(self._member(at, depth, is_list=is_list))
            at = self.skip(members[-1].node.end)
            if self._text.startswith(",", at):
                at = self.skip(at + 1)
            elif not self._text.startswith(close, at):
                raise self._source.refused(at, shown(self._text, at), f", or {close}")
        if not is_list:
            self._refuse_repeats(members)
        return Container(start, at + 1, is_list, tuple(members))

    def _member(self, at: int, depth: int, *, is_list: bool) -> Member:
        if is_list:
            return Member((), at, self._value(at, depth))
        key = _STRING.match(self._text, at)
        if key is None:
            raise self._source.refused(at, shown(self._text, at), "a key in double quotes")
        colon = self.skip(key.end())
        if not self._text.startswith(":", colon):
            raise self._source.refused(colon, shown(self._text, colon), ": after the key")
        name = json.loads(key[0])
        return Member((name,), at, self._value(self.skip(colon + 1), depth))

    def _value(self, at: int, depth: int) -> Node:
        if self._text.startswith(("{", "["), at):
            return self.container(at, depth + 1)
        if text := _STRING.match(self._text, at):
            return Scalar(at, text.end(), json.loads(text[0]))
        if literal := _LITERAL.match(self._text, at):
            return Scalar(at, literal.end(), ("literal", literal[0]))
        raise self._source.refused(at, shown(self._text, at), "a value of JSON")

    def _refuse_repeats(self, members: list[Member]) -> None:
        seen: set[tuple[str, ...]] = set()
        for member in members:
            if member.path in seen:
                raise self._source.refused(
                    member.start,
                    f"the key {json.dumps(member.path[0])} once more",
                    "each key once in an object",
                )
            seen.add(member.path)
