"""KV namespaces: creation, lookup, renaming. Entries are in the module `store`."""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sandbox.clock import Clock
from sandbox.database import Database
from sandbox.errors import duplicate_title, invalid_kv, namespace_not_found
from sandbox.limits import KV_JURISDICTIONS, KV_MODES, KV_NAMESPACES_MAX, KV_TITLE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class KvNamespace:
    """One KV namespace."""

    namespace_id: str
    title: str
    jurisdiction: str | None = None  # eu, us, fedramp; None: anywhere
    mode: str | None = None  # "instant"; None: ordinary KV

    @property
    def is_instant(self) -> bool:
        """Whether the limits of KV Instant hold."""
        return self.mode == "instant"


class KvNamespaces:
    """The account's KV namespaces. The caller holds the lock."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._connection = database.connection
        self._clock = clock

    def create(
        self, title: object, *, jurisdiction: object = None, mode: object = None
    ) -> KvNamespace:
        """Create. Raises ServiceError for a used title and for members that do not fit."""
        title = _checked_title(title)
        where = _one_of("jurisdiction", jurisdiction, KV_JURISDICTIONS)
        kind = _one_of("mode", mode, KV_MODES)
        if where is not None and kind is not None:
            raise invalid_kv("mode cannot be combined with jurisdiction")
        count = len(self.select_all())
        if count >= KV_NAMESPACES_MAX:
            raise invalid_kv(f"at most {KV_NAMESPACES_MAX} namespaces per account")
        seed = f"{title}/{self._clock.now()}/{count}"
        namespace_id = hashlib.sha256(seed.encode()).hexdigest()[:32]
        self._write(
            "INSERT INTO kv_namespaces (title, namespace_id, jurisdiction, mode) VALUES (?,?,?,?)",
            title,
            namespace_id,
            where,
            kind,
        )
        return KvNamespace(namespace_id, title, where, kind)

    def rename(self, namespace_id: str, title: object) -> KvNamespace:
        """Rename. Raises ServiceError for a bad or a used title."""
        namespace = replace(self.get(namespace_id), title=_checked_title(title))
        self._write(
            "UPDATE kv_namespaces SET title = ? WHERE namespace_id = ?",
            namespace.title,
            namespace_id,
        )
        return namespace

    def _write(self, statement: str, *values: str | None) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.IntegrityError as error:
            raise duplicate_title() from error

    def delete(self, namespace_id: str) -> None:
        """Delete a namespace; the store drops its entries later."""
        self.get(namespace_id)
        self._connection.execute(
            "DELETE FROM kv_namespaces WHERE namespace_id = ?", (namespace_id,)
        )

    def get(self, namespace_id: str) -> KvNamespace:
        """The namespace of this id. Raises ServiceError without one."""
        found = self._select("WHERE namespace_id = ?", namespace_id)
        if not found:
            raise namespace_not_found()
        return found[0]

    def select_all(self) -> list[KvNamespace]:
        """All of them, by id."""
        return self._select("ORDER BY namespace_id")

    def _select(self, condition: str, *values: str) -> list[KvNamespace]:
        rows = self._connection.execute(
            f"SELECT namespace_id, title, jurisdiction, mode FROM kv_namespaces {condition}",  # noqa: S608 - constants
            values,
        )
        return [KvNamespace(*row) for row in rows]


def _checked_title(title: object) -> str:
    if not isinstance(title, str) or not 0 < len(title.encode()) <= KV_TITLE_BYTES_MAX:
        raise invalid_kv(f"title must be a string of 1 to {KV_TITLE_BYTES_MAX} bytes")
    return title


def _one_of(name: str, given: object, known: Sequence[str]) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or given not in known:
        raise invalid_kv(f"{name} must be one of: {', '.join(known)}")
    return given
