"""Workers KV: namespaces, and entries whose changes readers see late."""

import base64
import binascii
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sandbox.chance import Chance
from sandbox.clock import Clock
from sandbox.database import Database
from sandbox.errors import (
    duplicate_title,
    invalid_kv,
    namespace_not_found,
    too_many_kv_writes,
)
from sandbox.kv_rules import KvPair
from sandbox.limits import KV_NAMESPACES_MAX, KV_TITLE_BYTES_MAX
from sandbox.profile import Profile

# The newest version that readers see, per key; `removed` and expired ones are sorted out after.
_VISIBLE = (
    "SELECT key, value, metadata, expiration FROM kv_entries AS entry "
    "WHERE namespace_id = :namespace AND {condition} "
    "AND value IS NOT NULL AND (expiration IS NULL OR expiration > :now) "
    "AND seq = (SELECT max(seq) FROM kv_entries AS other WHERE other.namespace_id = :namespace "
    "AND other.key = entry.key AND other.visible_at <= :now) "
    "ORDER BY key"
)


@dataclass(frozen=True, slots=True)
class KvNamespace:
    """One KV namespace."""

    namespace_id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPage:
    """One page of a listing."""

    entries: list[KvPair]  # values left empty
    cursor: str  # empty on the last page


class KvStore:
    """The caller holds the lock."""

    def __init__(self, database: Database, profile: Profile, clock: Clock) -> None:
        self._database = database
        self._profile = profile
        self._clock = clock
        self._chance = Chance(profile.seed)
        # A cache, not state: a restart forgets it. (namespace, key) -> end of the cached miss
        self._misses: dict[tuple[str, str], float] = {}

    # Namespaces -----------------------------------------------------------------------------

    def create_namespace(self, title: object) -> KvNamespace:
        """Create. Raises ServiceError for a bad or a used title."""
        title = _checked_title(title)
        count = len(self.namespaces())
        if count >= KV_NAMESPACES_MAX:
            raise invalid_kv(f"at most {KV_NAMESPACES_MAX} namespaces per account")
        seed = f"{title}/{self._clock.now()}/{count}"
        namespace = KvNamespace(hashlib.sha256(seed.encode()).hexdigest()[:32], title)
        self._write_namespace(
            "INSERT INTO kv_namespaces (title, namespace_id) VALUES (?, ?)", namespace
        )
        return namespace

    def rename_namespace(self, namespace_id: str, title: object) -> KvNamespace:
        """Rename. Raises ServiceError for a bad or a used title."""
        namespace = KvNamespace(self.namespace(namespace_id).namespace_id, _checked_title(title))
        self._write_namespace(
            "UPDATE kv_namespaces SET title = ? WHERE namespace_id = ?", namespace
        )
        return namespace

    def _write_namespace(self, statement: str, namespace: KvNamespace) -> None:
        try:
            self._database.connection.execute(statement, (namespace.title, namespace.namespace_id))
        except sqlite3.IntegrityError as error:
            raise duplicate_title() from error

    def delete_namespace(self, namespace_id: str) -> None:
        """Forget a namespace and all it holds."""
        self.namespace(namespace_id)
        with self._database.transaction() as connection:
            for table in ("kv_entries", "kv_namespaces"):
                connection.execute(
                    f"DELETE FROM {table} WHERE namespace_id = ?",  # noqa: S608 - a constant
                    (namespace_id,),
                )

    def namespace(self, namespace_id: str) -> KvNamespace:
        """The namespace of this id. Raises ServiceError without one."""
        for namespace in self.namespaces():
            if namespace.namespace_id == namespace_id:
                return namespace
        raise namespace_not_found()

    def namespaces(self) -> list[KvNamespace]:
        """All of them, by id."""
        rows = self._database.connection.execute(
            "SELECT namespace_id, title FROM kv_namespaces ORDER BY namespace_id"
        )
        return [KvNamespace(*row) for row in rows]

    # Writes ---------------------------------------------------------------------------------

    def write(self, namespace_id: str, pair: KvPair) -> None:
        """Take one entry. Raises ServiceError if the key was written a moment ago."""
        if self._too_soon(namespace_id, pair.key):
            raise too_many_kv_writes()
        with self._database.transaction():
            self._append(namespace_id, pair.key, pair, self._profile.kv_visible_after_s)

    def remove(self, namespace_id: str, key: str) -> None:
        """Take a removal; a key that does not exist is no error."""
        if self._too_soon(namespace_id, key):
            raise too_many_kv_writes()
        with self._database.transaction():
            self._append(namespace_id, key, None, self._profile.kv_visible_after_s)

    def write_bulk(
        self, namespace_id: str, pairs: Iterable[tuple[str, KvPair | None]], *, partial: bool
    ) -> list[str]:
        """Take many entries (None removes); returns the keys that were left out.

        Left out are keys written a moment ago and, with `partial` or by chance, every third one.
        """
        partial |= self._chance.strikes("partial", self._profile.kv_partial_rate)
        left_out: list[str] = []
        with self._database.transaction():
            for ordinal, (key, pair) in enumerate(pairs):
                if (partial and ordinal % 3 == 0) or self._too_soon(namespace_id, key):
                    left_out.append(key)
                else:
                    self._append(namespace_id, key, pair, self._profile.kv_visible_after_s)
        return left_out

    def plant(self, namespace_id: str, key: str, pair: KvPair | None) -> None:
        """Change an entry so that every reader sees it at once."""
        self.namespace(namespace_id)
        with self._database.transaction():
            self._append(namespace_id, key, pair, 0.0)
        self._misses.pop((namespace_id, key), None)

    def _too_soon(self, namespace_id: str, key: str) -> bool:
        if self._profile.kv_write_gap_s == 0:
            return False
        row = self._database.connection.execute(
            "SELECT max(written_at) FROM kv_entries WHERE namespace_id = ? AND key = ?",
            (namespace_id, key),
        ).fetchone()
        gap_s = self._profile.kv_write_gap_s
        return row[0] is not None and self._clock.now() - float(row[0]) < gap_s

    def _append(self, namespace_id: str, key: str, pair: KvPair | None, delay_s: float) -> None:
        """Add a version, and drop those that no reader can see any more."""
        now = self._clock.now()
        connection = self._database.connection
        connection.execute(
            "DELETE FROM kv_entries WHERE namespace_id = ?1 AND key = ?2 AND seq < ("
            "SELECT max(seq) FROM kv_entries "
            "WHERE namespace_id = ?1 AND key = ?2 AND visible_at <= ?3)",
            (namespace_id, key, now),
        )
        value, metadata, expiration = (
            (None, None, None) if pair is None else (pair.value, pair.metadata, pair.expiration)
        )
        connection.execute(
            "INSERT INTO kv_entries "
            "(namespace_id, key, written_at, visible_at, value, metadata, expiration) "
            "VALUES (?,?,?,?,?,?,?)",
            (namespace_id, key, now, now + delay_s, value, metadata, expiration),
        )

    # Reads ----------------------------------------------------------------------------------

    def read(self, namespace_id: str, key: str) -> KvPair | None:
        """The entry as readers see it; a miss is remembered for a while."""
        now = self._clock.now()
        if self._misses.get((namespace_id, key), now) > now:
            return None
        found = list(self._visible(namespace_id, "key = :key", {"key": key}))
        if not found and self._profile.kv_miss_cached_s > 0:
            self._misses[namespace_id, key] = now + self._profile.kv_miss_cached_s
        return found[0] if found else None

    def all(self, namespace_id: str) -> Iterator[KvPair]:
        """Every visible entry, by key."""
        return self._visible(namespace_id, "1", {})

    def list_page(self, namespace_id: str, *, prefix: str, limit: int, cursor: str) -> KeyPage:
        """A page of keys in UTF-8 order; now and then an empty one that still has a cursor."""
        after, was_empty = _decoded(cursor) if cursor else ("", False)
        if not was_empty and self._chance.strikes("empty-page", self._profile.kv_empty_page_rate):
            return KeyPage(entries=[], cursor=_encoded(after, was_empty=True))
        found = list(
            self._visible(
                namespace_id,
                "key > :after AND substr(key, 1, :prefix_characters) = :prefix",
                {"after": after, "prefix": prefix, "prefix_characters": len(prefix)},
                limit + 1,
            )
        )
        more = len(found) > limit
        entries = found[:limit]
        return KeyPage(
            entries=entries, cursor=_encoded(entries[-1].key, was_empty=False) if more else ""
        )

    def _visible(
        self, namespace_id: str, condition: str, values: dict[str, str | int], limit: int = -1
    ) -> Iterator[KvPair]:
        rows = self._database.connection.execute(
            _VISIBLE.format(condition=condition) + " LIMIT :limit",
            {"namespace": namespace_id, "now": self._clock.now(), "limit": limit, **values},
        )
        for key, value, metadata, expiration in rows:
            yield KvPair(key=key, value=value, metadata=metadata, expiration=expiration)


def _checked_title(title: object) -> str:
    if not isinstance(title, str) or not 0 < len(title.encode()) <= KV_TITLE_BYTES_MAX:
        raise invalid_kv(f"title must be a string of 1 to {KV_TITLE_BYTES_MAX} bytes")
    return title


def _encoded(after: str, *, was_empty: bool) -> str:
    """An opaque cursor, safe in a query string."""
    return base64.urlsafe_b64encode(f"{int(was_empty)}{after}".encode()).decode()


def _decoded(cursor: str) -> tuple[str, bool]:
    try:
        text = base64.urlsafe_b64decode(cursor).decode()
    except (binascii.Error, ValueError) as error:
        raise invalid_kv("invalid cursor") from error
    if text[:1] not in {"0", "1"}:
        raise invalid_kv("invalid cursor")
    return text[1:], text[0] == "1"
