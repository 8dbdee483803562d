"""The entries of Workers KV; readers see a change after a delay."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.database import Database
from sandbox.errors import invalid_kv, too_many_kv_writes, too_many_namespace_writes
from sandbox.faults.random_source import Chance
from sandbox.kv.namespaces import KvNamespaces
from sandbox.kv.rules import KvPair
from sandbox.limits import KV_INSTANT_KEYS_MAX, KV_KEY_BYTES_MAX
from sandbox.profile import Profile

# The newest version that readers see, per key; `removed` and expired ones are sorted out after.
_VISIBLE = (
    "SELECT key, {value}, metadata, expiration FROM kv_entries AS entry "
    "WHERE namespace_id = :namespace AND {condition} "
    "AND value IS NOT NULL AND (expiration IS NULL OR expiration > :now) "
    "AND seq = (SELECT max(seq) FROM kv_entries AS other WHERE other.namespace_id = :namespace "
    "AND other.key = entry.key AND other.visible_at <= :now) "
    "ORDER BY key LIMIT :limit"
)
_LAST_CHARACTER = "\U0010ffff"
_BEYOND = _LAST_CHARACTER * (KV_KEY_BYTES_MAX // 4)  # sorts after whatever may follow a prefix
ENTRIES_PER_REMOVAL = 500  # values of 25 MiB and their pages are freed with them


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
        self.namespaces = KvNamespaces(database, clock)
        # A cache, not state: a restart forgets it. (namespace, key) -> end of the cached miss
        self._misses: dict[tuple[str, str], float] = {}
        while self.remove_orphans():
            pass

    def remove_orphans(self) -> bool:
        """Drop some entries of deleted namespaces; False when none are left."""
        # One look-up per namespace that has entries, and none per entry.
        found = self._database.connection.execute(
            "WITH RECURSIVE held (id) AS (SELECT min(namespace_id) FROM kv_entries UNION ALL "
            "SELECT (SELECT min(namespace_id) FROM kv_entries WHERE namespace_id > id) FROM held "
            "WHERE id IS NOT NULL) SELECT id FROM held WHERE id IS NOT NULL "
            "AND id NOT IN (SELECT namespace_id FROM kv_namespaces) LIMIT 1"
        ).fetchone()
        if found is None:
            return False
        self._database.connection.execute(
            "DELETE FROM kv_entries WHERE seq IN "
            "(SELECT seq FROM kv_entries WHERE namespace_id = ? LIMIT ?)",
            (found[0], ENTRIES_PER_REMOVAL),
        )
        return True

    # Writes ---------------------------------------------------------------------------------

    def write(self, namespace_id: str, pair: KvPair) -> None:
        """Take one entry. Raises ServiceError if the key was written a moment ago."""
        if self._too_soon(namespace_id, pair.key):
            raise too_many_kv_writes()
        self.check_instant(namespace_id, [pair.key])
        with self._database.transaction():
            self._append(namespace_id, pair.key, pair, self._profile.kv_visible_after_s)

    def remove(self, namespace_id: str, key: str) -> None:
        """Take a removal; a key that does not exist is no error."""
        if self._too_soon(namespace_id, key):
            raise too_many_kv_writes()
        self.check_instant(namespace_id, [])
        with self._database.transaction():
            self._append(namespace_id, key, None, self._profile.kv_visible_after_s)

    def partial_by_chance(self) -> bool:
        """Whether the next bulk request leaves some keys out."""
        return self._chance.strikes("partial", self._profile.kv_partial_rate)

    def write_some(
        self,
        namespace_id: str,
        pairs: Sequence[tuple[str, KvPair | None]],
        *,
        first: int,
        partial: bool,
    ) -> list[str]:
        """Take a group of a bulk request (None removes); returns the keys that were left out.

        `first` is the ordinal of the group's first pair in the request. Left out are keys written
        a moment ago and, with `partial`, every third one of the request.
        """
        left_out: list[str] = []
        with self._database.transaction():
            for ordinal, (key, pair) in enumerate(pairs, first):
                if (partial and ordinal % 3 == 0) or self._too_soon(namespace_id, key):
                    left_out.append(key)
                else:
                    self._append(namespace_id, key, pair, self._profile.kv_visible_after_s)
        return left_out

    def plant(self, namespace_id: str, key: str, pair: KvPair | None) -> None:
        """Change an entry so that every reader sees it at once."""
        self.namespaces.get(namespace_id)
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

    def check_instant(self, namespace_id: str, written: Sequence[str]) -> None:
        """What KV Instant adds: a write a second and 10,000 keys, both for the whole namespace.

        `written` are the keys that the request would write. Raises ServiceError.
        """
        if not self.namespaces.get(namespace_id).is_instant:
            return
        last = self._database.connection.execute(
            "SELECT max(written_at) FROM kv_entries WHERE namespace_id = ?", (namespace_id,)
        ).fetchone()[0]
        if last is not None and self._clock.now() - last < self._profile.kv_write_gap_s:
            raise too_many_namespace_writes()
        held = {pair.key for pair in self._visible(namespace_id, "1", {}, values=False)}
        count = len(held.union(written))
        if written and count > KV_INSTANT_KEYS_MAX:
            raise invalid_kv(f"at most {KV_INSTANT_KEYS_MAX} keys in the namespace, got {count}")

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
        """The entry as readers see it; an absent key is cached for the profile's time."""
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
        """A page of keys in UTF-8 order; at the profile's rate an empty one with a cursor.

        A namespace of KV Instant lists all keys in one page.
        """
        after, was_empty = _decoded(cursor) if cursor else ("", False)
        if self.namespaces.get(namespace_id).is_instant:
            limit = KV_INSTANT_KEYS_MAX
        elif not was_empty and self._chance.strikes("empty-page", self._profile.kv_empty_page_rate):
            return KeyPage(entries=[], cursor=_encoded(after, was_empty=True))
        found = list(
            self._visible(
                namespace_id,
                "key > :after AND key >= :prefix AND key <= :beyond",
                {"after": after, "prefix": prefix, "beyond": prefix + _BEYOND},
                limit + 1,
                values=False,
            )
        )
        more = len(found) > limit
        entries = found[:limit]
        return KeyPage(
            entries=entries, cursor=_encoded(entries[-1].key, was_empty=False) if more else ""
        )

    def _visible(
        self,
        namespace_id: str,
        condition: str,
        parameters: dict[str, str | int],
        limit: int = -1,
        *,
        values: bool = True,
    ) -> Iterator[KvPair]:
        rows = self._database.connection.execute(
            _VISIBLE.format(condition=condition, value="value" if values else "x''"),
            {"namespace": namespace_id, "now": self._clock.now(), "limit": limit, **parameters},
        )
        for key, value, metadata, expiration in rows:
            yield KvPair(key=key, value=value, metadata=metadata, expiration=expiration)


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
