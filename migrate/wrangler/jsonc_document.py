"""Changes to a wrangler.jsonc or wrangler.json."""

import json

from migrate.wrangler import jsonc
from migrate.wrangler.bindings import Members
from migrate.wrangler.document import Entry
from migrate.wrangler.nodes import Container, Path, Text
from migrate.wrangler.splices import Splice, Style, indentation, insert, line_end_of

UNIT = "  "  # where the file shows no other indentation


class JsoncDocument:
    """See Document."""

    def __init__(self, source: Text) -> None:
        """Raises UsageError with line and column for what is not JSON with comments."""
        self._text = source.text
        self._root = jsonc.scan_jsonc(source)
        self._style = Style(
            line_end=line_end_of(self._text),
            unit=_unit(self._text, self._root),
            comment=jsonc.COMMENT,
        )

    @property
    def values(self) -> dict[str, object]:
        """See Document."""
        found = self._root.plain()
        assert isinstance(found, dict)
        return found

    def entries(self, path: Path) -> list[Entry]:
        """See Document."""
        found = self._root.find(path)
        return [] if found is None else entries_of(found)

    def add_entry(self, path: Path, members: Members) -> list[Splice]:
        """See Document."""
        found = self._root.find(path)
        if found is not None:
            assert isinstance(found, Container)
            return insert(self._text, found, lambda _: _entry(members), self._style)
        owner = self._root.find(path[:-1])
        assert isinstance(owner, Container)

        def made(indent: str | None) -> str:
            name, entry = json.dumps(path[-1]), _entry(members)
            if indent is None:
                return f"{name}: [{entry}]"
            line = f"{self._style.line_end}{indent}"
            return f"{name}: [{line}{self._style.unit}{entry}{line}]"

        return insert(self._text, owner, made, self._style)

    def add_member(self, path: Path, ordinal: int, key: str, value: str) -> list[Splice]:
        """See Document."""
        found = self._root.find(path)
        assert isinstance(found, Container)
        entry = found.members[ordinal].node
        assert isinstance(entry, Container)
        text = f"{json.dumps(key)}: {json.dumps(value)}"
        return insert(self._text, entry, lambda _: text, self._style)


def _entry(members: Members) -> str:
    """An entry on one line."""
    return "{ " + json.dumps(members)[1:-1] + " }"


def entries_of(container: object) -> list[Entry]:
    """The tables in a list in brackets."""
    assert isinstance(container, Container)
    found = []
    for ordinal, element in enumerate(container.members):
        assert isinstance(element.node, Container)
        members = {one.path[0]: one.node for one in element.node.members if len(one.path) == 1}
        found.append(Entry(members, ordinal))
    return found


def _unit(text: str, root: Container) -> str:
    """The indentation of the first member of the file, if it begins a line."""
    if root.members:
        start = root.members[0].start
        indent = indentation(text, start)
        if indent and text[:start].endswith(f"\n{indent}"):
            return indent
    return UNIT
