"""Workers KV namespaces: last write wins, visible later, misses remembered."""

import hashlib
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from sandbox.clock import SandboxClock
from sandbox.errors import ServiceError, kv_invalid, namespace_not_found
from sandbox.faults import Faults
from sandbox.limits import (
    KV_KEY_BYTES_MAX,
    KV_METADATA_BYTES_MAX,
    KV_TTL_S_MIN,
    KV_VALUE_BYTES_MAX,
    KV_WRITES_APART_S,
    NAMESPACES_MAX,
)
from sandbox.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One KV pair."""

    key: str
    value: bytes
    metadata: object | None = None
    expiration: int | None = None


class KvStore:
    """All KV namespaces of the account."""

    def __init__(
        self, database: sqlite3.Connection, profile: Profile, clock: SandboxClock, faults: Faults
    ) -> None:
        self._database = database
        self._profile = profile
        self._clock = clock
        self._faults = faults
        self._misses: dict[tuple[str, str], float] = {}  # remembered absences, until when
        self._bulk_writes = 0
        self._pages = 0

    # Namespaces

    def create(self, title: object) -> dict[str, object]:
        """Create a namespace."""
        if not isinstance(title, str) or not title:
            raise kv_invalid("a title is needed")
        (count,) = self._database.execute("SELECT count(*) FROM namespaces").fetchone()
        if count >= NAMESPACES_MAX:
            raise kv_invalid(f"at most {NAMESPACES_MAX} namespaces")
        namespace_id = uuid.uuid4().hex
        self._insert_title(namespace_id, title)
        return self.document(namespace_id)

    def _insert_title(self, namespace_id: str, title: str) -> None:
        try:
            self._database.execute(
                "INSERT INTO namespaces VALUES (?, ?) "
                "ON CONFLICT (id) DO UPDATE SET title = excluded.title",
                (namespace_id, title),
            )
        except sqlite3.IntegrityError as error:
            raise ServiceError(
                400, 10014, "a namespace with this account ID and title already exists"
            ) from error

    def rename(self, namespace_id: str, title: object) -> dict[str, object]:
        """Give a namespace another title."""
        self.document(namespace_id)
        if not isinstance(title, str) or not title:
            raise kv_invalid("a title is needed")
        self._insert_title(namespace_id, title)
        return self.document(namespace_id)

    def drop(self, namespace_id: str) -> None:
        """Delete a namespace and its entries."""
        self.document(namespace_id)
        self._database.execute("DELETE FROM entries WHERE namespace_id = ?", (namespace_id,))
        self._database.execute("DELETE FROM namespaces WHERE id = ?", (namespace_id,))

    def document(self, namespace_id: str) -> dict[str, object]:
        """The namespace object; raises not_found."""
        row = self._database.execute(
            "SELECT id, title FROM namespaces WHERE id = ?", (namespace_id,)
        ).fetchone()
        if row is None:
            raise namespace_not_found()
        return {"id": row[0], "title": row[1], "supports_url_encoding": True}

    def namespaces(self, order: str, direction: str) -> list[dict[str, object]]:
        """Every namespace in the order asked for."""
        if order not in {"id", "title"} or direction not in {"asc", "desc"}:
            raise kv_invalid("order is id or title, direction asc or desc")
        rows = self._database.execute("SELECT id FROM namespaces").fetchall()
        found = [self.document(row[0]) for row in rows]
        return sorted(found, key=lambda one: str(one[order]), reverse=direction == "desc")

    # Entries

    def write(self, namespace_id: str, entries: Sequence[Entry]) -> list[str]:
        """Overwrite entries; returns the keys that did not succeed."""
        failed = self._failing([entry.key for entry in entries])
        now = self._clock.now()
        self._database.execute("BEGIN IMMEDIATE")
        for entry in entries:
            if entry.key not in failed:
                self._append(namespace_id, entry, alive=True, at=now)
        self._database.execute("COMMIT")
        return sorted(failed)

    def delete(self, namespace_id: str, keys: Sequence[str]) -> list[str]:
        """Delete keys; absent ones are no error. Returns the keys that did not succeed."""
        failed = self._failing(keys)
        now = self._clock.now()
        self._database.execute("BEGIN IMMEDIATE")
        for key in keys:
            if key not in failed:
                self._append(namespace_id, Entry(key=key, value=b""), alive=False, at=now)
        self._database.execute("COMMIT")
        return sorted(failed)

    def _failing(self, keys: Sequence[str]) -> set[str]:
        """Now and then a bulk write half-fails inside its 200."""
        self._bulk_writes += 1
        every = self._profile.kv_partial_every
        ordered = self._faults.due("kv-partial")
        if ordered or (every and self._bulk_writes % every == 0 and len(keys) > 1):
            return set(list(keys)[::7][: max(1, len(keys) // 2)])
        return set()

    def check_pace(self, namespace_id: str, key: str) -> None:
        """Raises the 429 of a key that is written twice within a second."""
        (last,) = self._database.execute(
            "SELECT max(written_at) FROM entries WHERE namespace_id = ? AND key = ?",
            (namespace_id, key),
        ).fetchone()
        if last is not None and self._clock.now() - last < KV_WRITES_APART_S and self._is_paced():
            raise ServiceError(429, 10048, "too many writes to the same key")

    def _is_paced(self) -> bool:
        return self._profile.kv_visible_s > 0

    def _append(self, namespace_id: str, entry: Entry, *, alive: bool, at: float) -> None:
        metadata = None if entry.metadata is None else orjson.dumps(entry.metadata).decode()
        self._database.execute(
            "INSERT INTO entries (namespace_id, key, value, metadata, expiration, written_at, "
            "alive) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (namespace_id, entry.key, entry.value, metadata, entry.expiration, at, int(alive)),
        )

    def read(self, namespace_id: str, key: str) -> Entry | None:
        """The entry as this read sees it; a miss is remembered."""
        now = self._clock.now()
        if self._misses.get((namespace_id, key), 0.0) > now:
            return None
        entry = self._visible(namespace_id, key, now - self._profile.kv_visible_s)
        if entry is None and self._profile.kv_miss_cached_s > 0:
            self._misses[namespace_id, key] = now + self._profile.kv_miss_cached_s
        return entry

    def _visible(self, namespace_id: str, key: str, written_until: float) -> Entry | None:
        row = self._database.execute(
            "SELECT key, value, metadata, expiration, alive FROM entries "
            "WHERE namespace_id = ? AND key = ? AND written_at <= ? "
            "ORDER BY version DESC LIMIT 1",
            (namespace_id, key, written_until),
        ).fetchone()
        if row is None or not row[4] or self._expired(row[3]):
            return None
        return _entry(row)

    def _expired(self, expiration: int | None) -> bool:
        return expiration is not None and expiration <= self._clock.now()

    def list_page(
        self, namespace_id: str, prefix: str, limit: int, cursor: str
    ) -> tuple[list[Entry], str]:
        """One page of keys in UTF-8 order and the next cursor; now and then an empty page."""
        self._pages += 1
        every = self._profile.kv_empty_page_every
        if every and self._pages % every == 0:
            return [], cursor or "|start"
        after = "" if cursor in {"", "|start"} else cursor
        entries = self._listed(
            namespace_id, prefix, after, limit + 1, self._clock.now() - self._profile.kv_visible_s
        )
        page = entries[:limit]
        return page, page[-1].key if len(entries) > limit else ""

    def _listed(
        self, namespace_id: str, prefix: str, after: str, limit: int, written_until: float
    ) -> list[Entry]:
        rows = self._database.execute(
            "SELECT key, x'', metadata, expiration, alive FROM entries e "
            "WHERE namespace_id = ? AND key > ? AND substr(key, 1, ?) = ? AND written_at <= ? "
            "AND alive = 1 AND (expiration IS NULL OR expiration > ?) AND NOT EXISTS ("
            "SELECT 1 FROM entries l WHERE l.namespace_id = e.namespace_id AND l.key = e.key "
            "AND l.version > e.version AND l.written_at <= ?) ORDER BY key LIMIT ?",
            (
                namespace_id,
                after,
                len(prefix),
                prefix,
                written_until,
                self._clock.now(),
                written_until,
                limit,
            ),
        )
        return [_entry(row) for row in rows]

    # Behind the API

    def put_at_once(self, namespace_id: str, entry: Entry, *, alive: bool = True) -> None:
        """Write and show without a request: what somebody else did a while ago."""
        at = self._clock.now() - self._profile.kv_visible_s
        self._append(namespace_id, entry, alive=alive, at=at)
        self._misses.pop((namespace_id, entry.key), None)

    def final_entries(self, namespace_id: str) -> list[Entry]:
        """Every entry as it will be seen once everything has settled."""
        rows = self._database.execute(
            "SELECT key, value, metadata, expiration, alive FROM entries e "
            "WHERE namespace_id = ? AND version = (SELECT max(version) FROM entries l "
            "WHERE l.namespace_id = e.namespace_id AND l.key = e.key) AND alive = 1 ORDER BY key",
            (namespace_id,),
        )
        return [_entry(row) for row in rows if not self._expired(row[3])]

    def expiration(self, absolute: object, ttl: object) -> int | None:
        """The absolute expiry of a write; the time to live wins over the absolute time."""
        now = self._clock.now()
        for value, base in ((ttl, now), (absolute, 0.0)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise kv_invalid("expiration and expiration_ttl are whole seconds")
            at = int(base + value)
            if at < now + KV_TTL_S_MIN - 1:
                raise kv_invalid(f"expiration must be at least {KV_TTL_S_MIN} seconds ahead")
            return at
        return None


def check_key(key: object) -> str:
    """The key, or the refusal."""
    if not isinstance(key, str) or key in {"", ".", ".."}:
        raise kv_invalid("a key is not empty, '.' or '..'")
    if len(key.encode()) > KV_KEY_BYTES_MAX:
        raise kv_invalid(f"key is longer than {KV_KEY_BYTES_MAX} bytes", status=414)
    return key


def check_value(value: bytes) -> bytes:
    """The value, or the refusal."""
    if len(value) > KV_VALUE_BYTES_MAX:
        raise kv_invalid(f"value is larger than {KV_VALUE_BYTES_MAX} bytes", status=413)
    return value


def check_entry_metadata(metadata: object) -> object:
    """The metadata, or the refusal."""
    if metadata is not None and len(orjson.dumps(metadata)) > KV_METADATA_BYTES_MAX:
        raise kv_invalid(f"metadata is larger than {KV_METADATA_BYTES_MAX} bytes", status=413)
    return metadata


def _entry(row: tuple[str, bytes, str | None, int | None, int]) -> Entry:
    return Entry(
        key=row[0],
        value=bytes(row[1]),
        metadata=None if row[2] is None else orjson.loads(row[2]),
        expiration=row[3],
    )


def digest_entries(entries: Sequence[Entry]) -> str:
    """SHA-256 over entries, for "what it was before"."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(
            orjson.dumps([entry.key, entry.value.hex(), entry.metadata, entry.expiration])
        )
    return digest.hexdigest()
