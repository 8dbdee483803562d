"""What a configuration file holds, with the place of each part in its text."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from migrate.errors import UsageError

DEPTH_MAX = 100  # of tables and lists in each other
Path = tuple[str, ...]  # keys from the root of the file, or from a table in it


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, a number or another value without parts."""

    start: int  # offset in the text, quotes included
    end: int
    value: object  # str for a text only

    def plain(self) -> object:
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a table, or one element of a list."""

    path: Path  # one key, or several with dots between them (TOML); empty in a list
    start: int  # of the key, or of the element
    node: "Node"


@dataclass(frozen=True, slots=True)
class Container:
    """A table or a list in brackets."""

    start: int  # of the opening bracket
    end: int  # after the closing one
    is_list: bool
    members: tuple[Member, ...]

    def find(self, path: Path) -> "Node | None":
        """The node below this table; None without one. An empty path is the table itself."""
        if not path:
            return self
        for member in [] if self.is_list else self.members:
            rest = path[len(member.path) :]
            if path == member.path + rest:
                if not rest:
                    return member.node
                if isinstance(member.node, Container):
                    return member.node.find(rest)
        return None

    def plain(self) -> object:
        """As dictionaries and lists; of JSON only, where a path is one key."""
        if self.is_list:
            return [member.node.plain() for member in self.members]
        return {member.path[0]: member.node.plain() for member in self.members}


Node = Scalar | Container


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a file, and its name for messages."""

    text: str
    file: str

    def refused(self, offset: int, found: str, expected: str) -> UsageError:
        """An error that names a place: line and column count from 1."""
        line = self.text.count("\n", 0, offset) + 1
        column = offset - self.text.rfind("\n", 0, offset)
        return refused(self.file, f"line {line}, column {column}", found, expected)


def refused(file: str, place: str, found: str, expected: str) -> UsageError:
    """An error about a configuration file, of which nothing has been written."""
    return UsageError(
        f"{file}, {place}: found {found}, expected {expected}",
        remedy="correct that place of the file; nothing has been written",
    )


def shown(text: str, offset: int) -> str:
    """What stands at an offset, short and in quotes, for messages."""
    word = text[offset : offset + 20].partition("\n")[0].rstrip("\r")
    return json.dumps(word) if word else "the end of the " + ("line" if text[offset:] else "file")


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for member in node.members if isinstance(node, Container) else ():
        yield from walk(member.node)
