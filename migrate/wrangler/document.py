"""A configuration file as its merging needs it, whatever it is written in."""

from dataclasses import dataclass
from typing import Protocol

from migrate.wrangler.bindings import Members
from migrate.wrangler.nodes import Node, Path
from migrate.wrangler.splices import Splice


@dataclass(frozen=True, slots=True)
class Entry:
    """One table of a list: its members of one key, and what it is called by its document."""

    members: dict[str, Node]
    ordinal: int  # in its list


class Document(Protocol):
    """The parts of a file that is valid. `path` leads to a list of tables."""

    @property
    def values(self) -> dict[str, object]:
        """All values of the file; numbers in whatever form, texts as str."""

    def entries(self, path: Path) -> list[Entry]:
        """The tables of the list; empty without such a list."""

    def add_entry(self, path: Path, members: Members) -> list[Splice]:
        """Add a table at the end of the list; the list is made if there is none."""

    def add_member(self, path: Path, ordinal: int, key: str, value: str) -> list[Splice]:
        """Add a text at the end of a table of the list."""
