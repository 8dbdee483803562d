"""Vector indexes: an ordered log of mutations, committed later, read as of a committed number."""

import base64
import hashlib
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from sandbox.clock import SandboxClock
from sandbox.errors import ServiceError, index_not_found, upstream
from sandbox.faults import Faults
from sandbox.limits import (
    DELETE_IDS_MAX,
    DIMENSIONS_MAX,
    DIMENSIONS_MIN,
    GET_IDS_MAX,
    INDEX_NAME_BYTES_MAX,
    LIST_COUNT_MAX,
    METADATA_INDEXES_MAX,
)
from sandbox.ndjson import UploadedVector
from sandbox.profile import Profile

METRICS = {"cosine", "euclidean", "dot-product"}
PRESETS = {
    "@cf/baai/bge-small-en-v1.5": (384, "cosine"),
    "@cf/baai/bge-base-en-v1.5": (768, "cosine"),
    "@cf/baai/bge-large-en-v1.5": (1024, "cosine"),
    "openai/text-embedding-ada-002": (1536, "cosine"),
    "cohere/embed-multilingual-v2.0": (768, "cosine"),
}
INDEX_TYPES = {"string", "number", "boolean"}

# The newest version of every id up to a sequence number, deleted ones left out.
_VISIBLE = """
    FROM versions v WHERE v.index_id = :index AND v.seq <= :seq AND v.alive = 1
    AND NOT EXISTS (
        SELECT 1 FROM versions w
        WHERE w.index_id = v.index_id AND w.id = v.id AND w.seq > v.seq AND w.seq <= :seq
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A vector index."""

    id: int
    name: str
    description: str
    dimensions: int
    metric: str
    preset: str | None
    created_on: str

    def document(self) -> dict[str, object]:
        """The index object of the API."""
        config: dict[str, object] = {"dimensions": self.dimensions, "metric": self.metric}
        if self.preset is not None:
            config["preset"] = self.preset
        return {
            "name": self.name,
            "description": self.description,
            "config": config,
            "created_on": self.created_on,
            "modified_on": self.created_on,
        }


@dataclass(frozen=True, slots=True)
class StoredVector:
    """One visible vector."""

    id: str
    values: bytes  # little-endian float32
    namespace: str | None
    metadata: bytes | None
    seq: int  # of the mutation that wrote it


class VectorStore:
    """All vector indexes of the account."""

    def __init__(
        self, database: sqlite3.Connection, profile: Profile, clock: SandboxClock, faults: Faults
    ) -> None:
        self._database = database
        self._profile = profile
        self._clock = clock
        self._faults = faults
        self._reads = 0

    # Indexes

    def create(self, document: object) -> Index:
        """Create an index from the API's document."""
        name, config, description = _checked_index(document)
        dimensions, metric, preset = _checked_config(config)
        stamp = _stamp(self._clock.now())
        try:
            self._database.execute(
                "INSERT INTO indexes (name, description, dimensions, metric, preset, created_on) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (name, description, dimensions, metric, preset, stamp),
            )
        except sqlite3.IntegrityError as error:
            raise ServiceError(409, 3002, "vectorize.index.duplicate_name") from error
        return self.index(name)

    def index(self, name: str) -> Index:
        """The index; raises not_found."""
        row = self._database.execute(
            "SELECT id, name, description, dimensions, metric, preset, created_on FROM indexes "
            "WHERE name = ?",
            (name,),
        ).fetchone()
        if row is None:
            raise index_not_found()
        return _index(row)

    def indexes(self) -> list[Index]:
        """Every index, by name."""
        rows = self._database.execute(
            "SELECT id, name, description, dimensions, metric, preset, created_on FROM indexes "
            "ORDER BY name"
        )
        return [_index(row) for row in rows]

    def drop(self, name: str) -> None:
        """Delete an index with everything in it; the name may be used again."""
        index = self.index(name)
        with self._transaction():
            self._database.execute(
                "DELETE FROM contents WHERE rowid IN "
                "(SELECT rowid FROM versions WHERE index_id = ?)",
                (index.id,),
            )
            for table in ("versions", "mutations", "metadata_indexes"):
                self._database.execute(
                    f"DELETE FROM {table} WHERE index_id = ?",  # noqa: S608 - our own names
                    (index.id,),
                )
            self._database.execute("DELETE FROM indexes WHERE id = ?", (index.id,))

    # Writes

    def write(self, index: Index, vectors: Iterable[UploadedVector], *, keep: bool) -> str:
        """Accept vectors; `keep` leaves existing ids as they are (insert). The mutation id."""
        with self._transaction():
            seq, mutation_id = self._mutation(index)
            for vector in vectors:
                if keep and self._newest_alive(index, vector.id):
                    continue
                self._put(index, vector, seq)
        return mutation_id

    def delete(self, index: Index, ids: Sequence[str]) -> str:
        """Accept deletions; ids that do not exist are no error. The mutation id."""
        if len(ids) > DELETE_IDS_MAX:
            raise _too_many(DELETE_IDS_MAX, len(ids))
        with self._transaction():
            seq, mutation_id = self._mutation(index)
            for vector_id in ids:
                self._database.execute(
                    "INSERT OR REPLACE INTO versions (index_id, id, seq, alive) "
                    "VALUES (?, ?, ?, 0)",
                    (index.id, vector_id, seq),
                )
        return mutation_id

    def _mutation(self, index: Index, *, at_once: bool = False) -> tuple[int, str]:
        now = self._clock.now()
        mutation_id = str(uuid.uuid4())
        cursor = self._database.execute(
            "INSERT INTO mutations (index_id, mutation_id, accepted_at, due_at) "
            "VALUES (?, ?, ?, ?)",
            (index.id, mutation_id, now, now if at_once else self._due(index, now)),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid, mutation_id

    def _due(self, index: Index, now: float) -> float:
        """When the job that takes this mutation commits: together with its neighbours, in order."""
        due = now + self._profile.commit_delay_s
        interval = self._profile.commit_interval_s
        if interval > 0:
            due = (due // interval + 1) * interval
        (latest,) = self._database.execute(
            "SELECT max(due_at) FROM mutations WHERE index_id = ?", (index.id,)
        ).fetchone()
        return due if latest is None else max(due, latest)

    def _newest_alive(self, index: Index, vector_id: str) -> bool:
        row = self._database.execute(
            "SELECT alive FROM versions WHERE index_id = ? AND id = ? ORDER BY seq DESC LIMIT 1",
            (index.id, vector_id),
        ).fetchone()
        return row is not None and bool(row[0])

    def _put(self, index: Index, vector: UploadedVector, seq: int) -> None:
        cursor = self._database.execute(
            "INSERT OR REPLACE INTO versions (index_id, id, seq, alive, namespace) "
            "VALUES (?, ?, ?, 1, ?)",
            (index.id, vector.id, seq, vector.namespace),
        )
        self._database.execute(
            "INSERT OR REPLACE INTO contents (rowid, vector, metadata) VALUES (?, ?, ?)",
            (cursor.lastrowid, vector.values, vector.metadata),
        )

    # Reads

    def committed(self, index: Index, at: float | None = None) -> int:
        """The newest sequence number that a job had committed at a time (default: now)."""
        (seq,) = self._database.execute(
            "SELECT max(seq) FROM mutations WHERE index_id = ? AND due_at <= ?",
            (index.id, self._clock.now() if at is None else at),
        ).fetchone()
        return int(seq or 0)

    def read_seq(self, index: Index) -> int:
        """What this read sees: the committed state, now and then an older one."""
        self._reads += 1
        every = self._profile.stale_read_every
        stale = bool(every and self._reads % every == 0)
        if self._faults.due("stale") or stale:
            return self.committed(index, self._clock.now() - max(self._profile.stale_age_s, 1.0))
        return self.committed(index)

    def info(self, index: Index) -> dict[str, object]:
        """The `info` answer: a watermark that jumps, a count that lags."""
        now = self._clock.now()
        count = self.count(index, self.committed(index, now - self._profile.count_lag_s))
        row = self._database.execute(
            "SELECT mutation_id, due_at FROM mutations WHERE index_id = ? AND due_at <= ? "
            "ORDER BY seq DESC LIMIT 1",
            (index.id, now),
        ).fetchone()
        document: dict[str, object] = {"dimensions": index.dimensions, "vectorCount": count}
        if row is not None:
            mutation_id, due_at = row
            foreign_after = self._profile.foreign_watermark_after_s
            if foreign_after is not None and now - due_at > foreign_after:
                mutation_id = str(uuid.uuid5(uuid.NAMESPACE_OID, mutation_id))
            document["processedUpToMutation"] = mutation_id
            document["processedUpToDatetime"] = _stamp(due_at)
        return document

    def count(self, index: Index, seq: int) -> int:
        """Vectors that are visible as of a sequence number."""
        (count,) = self._database.execute(
            f"SELECT count(*) {_VISIBLE}", {"index": index.id, "seq": seq}
        ).fetchone()
        return int(count)

    def get(self, index: Index, ids: Sequence[str], seq: int) -> list[StoredVector]:
        """The visible vectors among the ids, in an order of their own."""
        if len(ids) > GET_IDS_MAX:
            raise _too_many(GET_IDS_MAX, len(ids))
        found = [self._get(index, vector_id, seq) for vector_id in sorted(set(ids), key=_shuffled)]
        return [vector for vector in found if vector is not None]

    def _get(self, index: Index, vector_id: str, seq: int) -> StoredVector | None:
        row = self._database.execute(
            "SELECT rowid, alive, namespace, seq FROM versions "
            "WHERE index_id = ? AND id = ? AND seq <= ? ORDER BY seq DESC LIMIT 1",
            (index.id, vector_id, seq),
        ).fetchone()
        if row is None or not row[1]:
            return None
        vector, metadata = self._database.execute(
            "SELECT vector, metadata FROM contents WHERE rowid = ?", (row[0],)
        ).fetchone()
        return StoredVector(vector_id, vector, row[2], metadata, row[3])

    def scan(self, index: Index, seq: int, rows: int = 1_000) -> Iterator[list[StoredVector]]:
        """Every visible vector, some at a time: memory stays flat."""
        cursor = self._database.execute(
            "SELECT v.id, c.vector, v.namespace, c.metadata, v.seq FROM ("  # noqa: S608 - our own
            f"SELECT v.rowid, v.id, v.namespace, v.seq {_VISIBLE}"
            ") v JOIN contents c ON c.rowid = v.rowid",
            {"index": index.id, "seq": seq},
        )
        while chunk := cursor.fetchmany(rows):
            yield [StoredVector(*row) for row in chunk]

    def list_page(self, index: Index, count: int, cursor: str | None) -> dict[str, object]:
        """One page of a walk: a snapshot taken at the first page, in no order of the ids."""
        if not 1 <= count <= LIST_COUNT_MAX:
            raise upstream(40025, f"count must be between 1 and {LIST_COUNT_MAX}")
        now = self._clock.now()
        if cursor is None:
            seq = self.committed(index)
            total, after, expires = self.count(index, seq), 0, now + self._profile.cursor_life_s
        else:
            seq, total, after, expires = _decode_cursor(cursor)
            if now > expires:
                raise ServiceError(400, 40027, "vectorize.list.cursor_expired")
        rows = self._database.execute(
            f"SELECT v.rowid, v.id {_VISIBLE} AND v.rowid > :after ORDER BY v.rowid LIMIT :count",
            {"index": index.id, "seq": seq, "after": after, "count": count + 1},
        ).fetchall()
        page, truncated = rows[:count], len(rows) > count
        following = _encode_cursor(seq, total, page[-1][0], expires) if truncated else None
        return {
            "count": len(page),
            "totalCount": total,
            "isTruncated": truncated,
            "nextCursor": following,
            "cursorExpirationTimestamp": _nine_digits(expires) if truncated else None,
            "vectors": [{"id": vector_id} for _, vector_id in page],
        }

    # Metadata indexes

    def create_metadata_index(self, index: Index, name: str, kind: str) -> str:
        """Accept a metadata index; vectors written before it are not in it."""
        if kind.lower() not in INDEX_TYPES or not name:
            raise upstream(40028, "invalid metadata index")
        existing = {one[0] for one in self.metadata_indexes(index)}
        if name not in existing and len(existing) >= METADATA_INDEXES_MAX:
            raise upstream(40029, f"at most {METADATA_INDEXES_MAX} metadata indexes")
        with self._transaction():
            seq, mutation_id = self._mutation(index)
            if name not in existing:
                self._database.execute(
                    "INSERT INTO metadata_indexes VALUES (?, ?, ?, ?, ?, NULL)",
                    (index.id, name, kind.lower(), seq, self._clock.now()),
                )
        return mutation_id

    def drop_metadata_index(self, index: Index, name: str) -> str:
        """Accept the end of a metadata index."""
        with self._transaction():
            _, mutation_id = self._mutation(index)
            self._database.execute(
                "UPDATE metadata_indexes SET deleted_at = ? "
                "WHERE index_id = ? AND property = ? AND deleted_at IS NULL",
                (self._clock.now(), index.id, name),
            )
        return mutation_id

    def metadata_indexes(self, index: Index) -> list[tuple[str, str, int]]:
        """(property, type, sequence number) of every metadata index."""
        return self._database.execute(
            "SELECT property, type, seq FROM metadata_indexes "
            "WHERE index_id = ? AND deleted_at IS NULL ORDER BY seq",
            (index.id,),
        ).fetchall()

    def listed_metadata_indexes(self, index: Index) -> list[tuple[str, str]]:
        """As a read shows them: young ones on every other read only."""
        self._reads += 1
        young = self._clock.now() - self._profile.metadata_index_delay_s
        rows = self._database.execute(
            "SELECT property, type, created_at FROM metadata_indexes "
            "WHERE index_id = ? AND deleted_at IS NULL ORDER BY seq",
            (index.id,),
        ).fetchall()
        return [
            (name, kind)
            for name, kind, created_at in rows
            if created_at <= young or self._reads % 2
        ]

    # Behind the API

    def put_at_once(self, index: Index, vector: UploadedVector) -> None:
        """Write and commit without a request: what somebody else did."""
        with self._transaction():
            seq, _ = self._mutation(index, at_once=True)
            self._put(index, vector, seq)

    def remove_at_once(self, index: Index, vector_id: str) -> None:
        """Delete and commit without a request."""
        with self._transaction():
            seq, _ = self._mutation(index, at_once=True)
            self._database.execute(
                "INSERT OR REPLACE INTO versions (index_id, id, seq, alive) VALUES (?, ?, ?, 0)",
                (index.id, vector_id, seq),
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _checked_index(document: object) -> tuple[str, object, str]:
    match document:
        case {"name": str() as name, "config": config}:
            if not 1 <= len(name.encode()) <= INDEX_NAME_BYTES_MAX:
                raise _invalid_config("index name")
            return name, config, str(document.get("description") or "")
        case _:
            raise _invalid_config("name and a nested config are needed")


def _checked_config(config: object) -> tuple[int, str, str | None]:
    match config:
        case {"preset": str() as preset} if preset in PRESETS:
            return *PRESETS[preset], preset
        case {"dimensions": int() as dimensions, "metric": str() as metric}:
            if not DIMENSIONS_MIN <= dimensions <= DIMENSIONS_MAX:
                raise _invalid_config(
                    f"dimensions must be in range [{DIMENSIONS_MIN}, {DIMENSIONS_MAX}]"
                )
            if metric not in METRICS:
                raise _invalid_config(f"unknown metric {metric!r}")
            return dimensions, metric, None
        case _:
            raise _invalid_config("dimensions and metric, or a known preset, are needed")


def _invalid_config(why: str) -> ServiceError:
    return ServiceError(400, 3001, f"vectorize.index.invalid_config - {why}")


def _too_many(count_max: int, count: int) -> ServiceError:
    return upstream(40007, f"too many ids in payload; max id count is {count_max}, got {count}")


def _index(row: tuple[int, str, str, int, str, str | None, str]) -> Index:
    return Index(
        id=row[0],
        name=row[1],
        description=row[2],
        dimensions=row[3],
        metric=row[4],
        preset=row[5],
        created_on=row[6],
    )


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _nine_digits(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "123+00:00"


def _shuffled(vector_id: str) -> bytes:
    """An order that nobody would assume, the same every time."""
    return hashlib.md5(vector_id.encode(), usedforsecurity=False).digest()


def _encode_cursor(seq: int, total: int, after: int, expires: float) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([seq, total, after, expires])).decode()


def _decode_cursor(cursor: str) -> tuple[int, int, int, float]:
    try:
        seq, total, after, expires = orjson.loads(base64.urlsafe_b64decode(cursor))
        return int(seq), int(total), int(after), float(expires)
    except (ValueError, TypeError) as error:
        raise ServiceError(400, 40027, "vectorize.list.invalid_cursor") from error
