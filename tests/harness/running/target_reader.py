"""A second reader of the sandbox's state folder, which shares no line of code with the first.

It imports nothing of the sandbox or the tool: its own SQL, its own way through `values/<n>.f32`.
What it gives are bytes, so that two targets are compared byte for byte.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class TargetContent:
    """Everything that outlives a run: no times, row numbers or mutations.

    Names of records tell kind and place ("vector bench file-1_0"); a record is the bytes of its
    fields, each with its length before it, an absent one told from an empty one.
    """

    records: dict[str, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """All of it, in the order of the names."""
        pairs = sorted(self.records.items())
        return b"".join(_fields(name.encode(), record) for name, record in pairs)

    def differences(self, other: "TargetContent") -> list[str]:
        """Names of records that only one side has or that differ."""
        names = self.records.keys() | other.records.keys()
        return sorted(name for name in names if self.records.get(name) != other.records.get(name))


def read_target(state: Path) -> TargetContent:
    """What the newest state of every index and namespace holds; the folder may be in use."""
    with closing(_open(state)) as database:
        named = [*_vectors(database, state / "values"), *_schema(database), *_entries(database)]
    records = dict(named)
    assert len(records) == len(named), "two records of one name"
    return TargetContent(records)


def count_mutations(state: Path) -> int:
    """Writes that the indexes ever took: one row each."""
    with closing(_open(state)) as database:
        (count,) = database.execute("SELECT count(*) FROM mutations").fetchone()
        return int(count)


def _open(state: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{state / 'state.sqlite3'}?mode=ro", uri=True)


def _fields(*fields: bytes | None) -> bytes:
    """Each field after its length; -1 stands for none."""
    return b"".join(
        (-1 if one is None else len(one)).to_bytes(8, "big", signed=True) + (one or b"")
        for one in fields
    )


def _text(value: object) -> bytes | None:
    """A column as bytes; numbers as digits."""
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode()


def _schema(database: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """The indexes themselves, with the metadata indexes that are in force."""
    for index_id, name, *config in database.execute(
        "SELECT index_id, name, dimensions, metric, description FROM vector_indexes "
        "WHERE deleted_at IS NULL"
    ):
        properties = database.execute(
            "SELECT property, type FROM metadata_indexes "
            "WHERE index_id = ?1 AND from_seq <= ?2 AND ?2 < until_seq ORDER BY property",
            (index_id, _last_seq(database, index_id)),
        ).fetchall()
        yield (
            f"index {name}",
            _fields(*map(_text, config), *(_text(part) for row in properties for part in row)),
        )


def _vectors(database: sqlite3.Connection, values: Path) -> Iterator[tuple[str, bytes]]:
    """Of each id the version that the last mutation left, with its float32 bytes as they lie."""
    for index_id, name, dimensions in database.execute(
        "SELECT index_id, name, dimensions FROM vector_indexes WHERE deleted_at IS NULL"
    ):
        row_bytes = dimensions * _FLOAT32_BYTES
        path = values / f"{index_id}.f32"
        content = path.read_bytes() if path.exists() else b""
        for vector_id, position, namespace, metadata in database.execute(
            "SELECT id, position, namespace, metadata FROM vectors "
            "WHERE index_id = ?1 AND from_seq <= ?2 AND ?2 < until_seq",
            (index_id, _last_seq(database, index_id)),
        ):
            row = content[position * row_bytes : (position + 1) * row_bytes]
            assert len(row) == row_bytes, f"vector {vector_id} has no values"
            yield f"vector {name} {vector_id}", _fields(row, _text(namespace), _text(metadata))


def _last_seq(database: sqlite3.Connection, index_id: int) -> int:
    (seq,) = database.execute(
        "SELECT coalesce(max(seq), 0) FROM mutations WHERE index_id = ?", (index_id,)
    ).fetchone()
    return int(seq)


def _entries(database: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Of each key the newest version, unless that is a removal."""
    for title, key, value, metadata, expiration in database.execute(
        "SELECT title, key, value, metadata, expiration FROM kv_entries "
        "JOIN kv_namespaces USING (namespace_id) "
        "JOIN (SELECT max(seq) AS seq FROM kv_entries GROUP BY namespace_id, key) USING (seq) "
        "WHERE value IS NOT NULL"
    ):
        yield f"entry {title} {key}", _fields(_text(value), _text(metadata), _text(expiration))
