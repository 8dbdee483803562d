"""The rows of a local mode's SQLite file: ids in order, and pickled points by id."""

import base64
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from migrate.errors import LocalStorageError, PreconditionError
from migrate.model.records import PointId
from migrate.qdrant.folder.local_mode.pickled import (
    POINT,
    Instance,
    NotAPointError,
    decode_pickled,
)

# What the client creates; a view, a virtual table or other columns could run what others wrote.
TABLE = "CREATE TABLE points (id TEXT PRIMARY KEY, point BLOB)"


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as it is stored."""

    id: PointId
    vectors: Mapping[str, object]  # by name; "" for the unnamed one
    payload: Mapping[str, object]


class Rows:
    """The points of a copied SQLite file. Errors name the original folder."""

    def __init__(self, file: Path, original: Path) -> None:
        """Raises LocalStorageError for a damaged file, PreconditionError for one of another kind.

        The newest row of an id counts, as in the client: its older versions kept one row for each
        spelling of a UUID.
        """
        self._original = original
        # Readers of a snapshot are one at a time, but need not be one thread.
        self._database = sqlite3.connect(file, check_same_thread=False)
        try:
            with self._reading():
                self._check()
                self._rows = dict(reversed(list(self._newest_first())))
        except BaseException:
            self._database.close()
            raise
        self.ids = sorted(self._rows)

    def keep(self, wanted: Callable[[StoredPoint], bool]) -> None:
        """Leave out of `ids` the points that are not wanted; every point is read once."""
        self.ids = [one for one in self.ids if wanted(self.read(one))]

    def from_id(self, start: PointId | None, limit: int) -> Sequence[PointId]:
        """At most `limit` ids >= `start`, ascending."""
        first = 0 if start is None else bisect_left(self.ids, start)
        return self.ids[first : first + limit]

    def read(self, point_id: PointId) -> StoredPoint:
        """The point of an id of `ids`."""
        with self._reading():
            (content,) = self._database.execute(
                "SELECT point FROM points WHERE rowid = ?", (self._rows[point_id],)
            ).fetchone()
        with self._decoding(point_id.text):
            value = decode_pickled(_as_bytes(content))
            if not isinstance(value, Instance) or value.kind != POINT:
                raise NotAPointError("it is no point")
            return _point(value.fields, point_id)

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._database.close()

    def _check(self) -> None:
        self._database.execute("PRAGMA trusted_schema = OFF")
        self._database.execute("PRAGMA cell_size_check = ON")
        found = self._database.execute(
            "SELECT type, sql FROM sqlite_master WHERE name = 'points'"
        ).fetchall()
        if found != [("table", TABLE)]:
            raise PreconditionError(
                f"{self._original} holds no table of points as the Python client makes it",
                remedy="check which program wrote the folder",
            )
        # Not quick_check: only this finds an id that has changed, by the index of the ids.
        (said,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
        if said != "ok":
            raise sqlite3.DatabaseError(said)

    def _newest_first(self) -> Iterator[tuple[PointId, int]]:
        for rowid, key in self._database.execute(
            "SELECT rowid, id FROM points ORDER BY rowid DESC"
        ):
            with self._decoding(f"of row {rowid}"):
                yield _parse(decode_pickled(base64.b64decode(key, validate=True))), rowid

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LocalStorageError(
                f"SQLite cannot read {self._original}: {error}",
                remedy="restore the folder from a copy",
            ) from error

    @contextmanager
    def _decoding(self, which: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError) as error:
            raise PreconditionError(
                f"point {which} in {self._original} is not what the Python client stores: {error}; "
                "nothing of it was executed",
                remedy="find out who wrote it; write the point again with the client, or delete it",
            ) from error


def _as_bytes(content: object) -> bytes:
    if not isinstance(content, bytes):
        raise NotAPointError(f"it is of type {type(content).__name__}")
    return content


def _parse(raw: object) -> PointId:
    """The id. The local mode takes integers, and once took texts, that a server refuses."""
    try:
        return PointId.parse(raw)
    except ValueError as error:
        raise NotAPointError(f"its id is {raw!r:.80}, which a server does not take") from error


def _point(fields: Mapping[str, object], point_id: PointId) -> StoredPoint:
    if _parse(fields.get("id")) != point_id:
        raise NotAPointError(f"its row has the id {point_id.text}, the point {fields.get('id')!r}")
    vector, payload = fields.get("vector"), fields.get("payload")
    vectors = {"": vector} if isinstance(vector, list) else vector
    if not isinstance(vectors, dict) or not all(isinstance(name, str) for name in vectors):
        raise NotAPointError(f"its vector is of type {type(vector).__name__}")
    if not isinstance(payload, dict | None):
        raise NotAPointError(f"its payload is of type {type(payload).__name__}")
    return StoredPoint(
        point_id,
        cast(Mapping[str, object], vectors),
        cast(Mapping[str, object], payload or {}),
    )
