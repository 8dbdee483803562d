"""Changes to a wrangler.toml."""

import json
import re

from migrate.wrangler import toml
from migrate.wrangler.bindings import Members
from migrate.wrangler.document import Entry
from migrate.wrangler.jsonc_document import entries_of
from migrate.wrangler.nodes import Container, Node, Path, Text
from migrate.wrangler.splices import (
    Splice,
    Style,
    end_of_line,
    indentation,
    insert,
    line_end_of,
)
from migrate.wrangler.toml import Section

UNIT = "  "
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class TomlDocument:
    """See Document."""

    def __init__(self, source: Text) -> None:
        """Raises UsageError with line and column for what is not TOML."""
        self._text = source.text
        self._values = toml.parse_toml(source)
        self._sections = toml.scan_toml(source)
        self._line_end = line_end_of(self._text)
        self._style = Style(line_end=self._line_end, unit=UNIT, comment=toml.COMMENT)
        self._in_one_line = Style(
            line_end=self._line_end, unit=UNIT, comment=toml.COMMENT, in_one_line=True
        )

    @property
    def values(self) -> dict[str, object]:
        """See Document."""
        return self._values

    def entries(self, path: Path) -> list[Entry]:
        """See Document."""
        tables = self._tables(path)
        if tables:
            return [
                Entry(
                    {one.path[-1]: one.node for one in table.statements if one.path[:-1] == path},
                    ordinal,
                )
                for ordinal, table in enumerate(tables)
            ]
        found = self._find(path)
        return [] if found is None else entries_of(found)

    def add_entry(self, path: Path, members: Members) -> list[Splice]:
        """See Document."""
        inline = "{ " + ", ".join(_assignment(*each) for each in members.items()) + " }"
        if not self._tables(path):
            found = self._find(path)
            if isinstance(found, Container):
                return insert(self._text, found, lambda _: inline, self._style)
            owner = self._find(path[:-1])
            if isinstance(owner, Container):
                text = f"{_key(path[-1:])} = [{inline}]"
                return insert(self._text, owner, lambda _: text, self._in_one_line)
        return [self._section(path, members)]

    def add_member(self, path: Path, ordinal: int, key: str, value: str) -> list[Splice]:
        """See Document."""
        text, tables = _assignment(key, value), self._tables(path)
        if tables:
            last = tables[ordinal].statements[-1]
            at = end_of_line(self._text, last.node.end)
            indent = indentation(self._text, last.start)
            return [Splice(at, at, f"{self._line_end}{indent}{text}")]
        found = self._find(path)
        assert isinstance(found, Container)
        entry = found.members[ordinal].node
        assert isinstance(entry, Container)
        return insert(self._text, entry, lambda _: text, self._in_one_line)

    def _tables(self, path: Path) -> list[Section]:
        """The sections [[path]]."""
        return [one for one in self._sections if one.is_list and one.path == path]

    def _find(self, path: Path) -> Node | None:
        """The value of a statement, or what lies in such a value, by its path."""
        for section in self._sections:
            for statement in section.statements:
                rest = path[len(statement.path) :]
                if path != statement.path + rest:
                    continue
                if not rest:
                    return statement.node
                if isinstance(statement.node, Container):
                    return statement.node.find(rest)
        return None

    def _section(self, path: Path, members: Members) -> Splice:
        """A new [[path]] behind the last one, or behind its table, or at the end of the file."""
        for owner in (path, path[:-1]):
            inside = [one for one in self._sections if owner and _is_inside(one, owner)]
            if inside:
                at = self._end_of_section(inside[-1])
                outer = indentation(self._text, inside[-1].start)
                break
        else:
            at, outer = len(self._text), ""
        tables = self._tables(path)
        statements = tables[-1].statements if tables else ()
        inner = indentation(self._text, statements[-1].start) if statements else outer
        lines = [f"{outer}[[{_key(path)}]]"]
        lines += [f"{inner}{_assignment(*each)}" for each in members.items()]
        block = self._line_end.join(lines)
        if at == len(self._text):
            return Splice(at, at, f"{self._gap()}{block}{self._line_end}")
        below = self._text.find("\n", at) + 1
        is_close = below and self._text[below : end_of_line(self._text, below)].strip(" \t")
        return Splice(at, at, f"{self._line_end * 2}{block}{self._line_end if is_close else ''}")

    def _gap(self) -> str:
        """What makes an empty line at the end of the file."""
        lines = self._text.replace("\r\n", "\n")
        if not lines.strip("\n") or lines.endswith("\n\n"):
            return ""
        return self._line_end * (1 if lines.endswith("\n") else 2)

    def _end_of_section(self, section: Section) -> int:
        """The end of its last line, with the comments right below it that an empty line ends.

        Comments that stand right above a header belong to that header.
        """
        end = at = end_of_line(self._text, section.end)
        while start := self._text.find("\n", at) + 1:
            line_end = end_of_line(self._text, start)
            line = self._text[start:line_end].strip(" \t")
            if not line:
                break
            if not line.startswith("#"):
                return end
            at = line_end
        return at


def _is_inside(section: Section, path: Path) -> bool:
    """Whether the section or one of its statements is the table `path` or a part of it."""
    places = [section.path, *(one.path for one in section.statements)]
    return any(place[: len(path)] == path for place in places)


def _key(path: Path) -> str:
    """A path as TOML writes it."""
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part) for part in path)


def _assignment(key: str, value: str) -> str:
    return f"{_key((key,))} = {json.dumps(value)}"
