"""The vectors of one account: writes through the log, reads of one committed state."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sandbox.clock import Clock
from sandbox.database import FOREVER, Database
from sandbox.errors import invalid_cursor, invalid_request
from sandbox.faults.random_source import Chance
from sandbox.limits import METADATA_INDEXES_MAX
from sandbox.profile import Profile
from sandbox.vectorize.indexes import VectorIndex, VectorIndexes
from sandbox.vectorize.mutations import Mutation, MutationLog
from sandbox.vectorize.ndjson import UploadedVector
from sandbox.vectorize.reader import SearchView, VectorReader
from sandbox.vectorize.values_file import ValuesFile
from sandbox.vectorize.walk import Walk

_ROWS_PER_REMOVAL = 2_000  # a few milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page of a walk over the ids of one state."""

    ids: list[str]
    total_count: int
    next_cursor: str | None
    expires_at: float | None


class VectorStore(VectorReader):
    """Reads take a `seq`, the state to read, from `state()`. The caller holds the lock."""

    def __init__(self, database: Database, profile: Profile, clock: Clock) -> None:
        super().__init__(database.connection)
        self._database = database
        self._profile = profile
        self._clock = clock
        self._chance = Chance(profile.seed)
        self._folder = database.folder / "values"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._files: dict[int, ValuesFile] = {}
        self._next_positions: dict[int, int] = {}
        self.stale_reads = 0  # number of stale reads, for statistics
        self.indexes = VectorIndexes(database.connection, clock)
        self.log = MutationLog(database.connection, profile, clock)
        self._remove_orphans()

    # Indexes --------------------------------------------------------------------------------

    def delete_index(self, name: str) -> VectorIndex:
        """Delete an index. Its file is deleted last, so a kill leaves at most an unused file.

        Its vectors use space until `remove_some` has deleted them all.
        """
        index = self.indexes.get(name)
        with self._database.transaction():
            self.indexes.delete(index)
        file = self._files.pop(index.index_id, None)
        if file is not None:
            file.close()
        self._next_positions.pop(index.index_id, None)
        self._values_path(index.index_id).unlink(missing_ok=True)
        return index

    def remove_some(self, index: VectorIndex) -> bool:
        """Drop some vectors of a deleted index; False when none are left."""
        dropped = self._database.connection.execute(
            "DELETE FROM vectors WHERE row_id IN "
            "(SELECT row_id FROM vectors WHERE index_id = ? LIMIT ?)",
            (index.index_id, _ROWS_PER_REMOVAL),
        )
        return dropped.rowcount == _ROWS_PER_REMOVAL

    def open_view(self, index: VectorIndex) -> SearchView:
        """A view for a search in another thread; the caller closes it."""
        values = ValuesFile(self._values_path(index.index_id), index.dimensions)
        return SearchView(self._database.connect(), values)

    def values_file(self, index: VectorIndex) -> ValuesFile:
        """The file that holds the values of the index."""
        file = self._files.get(index.index_id)
        if file is None:
            file = ValuesFile(self._values_path(index.index_id), index.dimensions)
            self._files[index.index_id] = file
        return file

    def close(self) -> None:
        """Release the files."""
        for file in self._files.values():
            file.close()

    def _values_path(self, index_id: int) -> Path:
        return self._folder / f"{index_id}.f32"

    def _remove_orphans(self) -> None:
        self._database.connection.execute(
            "DELETE FROM vectors WHERE index_id IN "
            "(SELECT index_id FROM vector_indexes WHERE deleted_at IS NOT NULL)"
        )
        known = {f"{index.index_id}.f32" for index in self.indexes.select_all()}
        for path in self._folder.iterdir():
            if path.name not in known:
                path.unlink()

    # Writes ---------------------------------------------------------------------------------

    def keep_rows(self, index: VectorIndex, rows: NDArray[np.float32]) -> int:
        """Append rows of values to the file; returns the position of the first.

        `write_vectors` stores their positions; without it the rows are unused space.
        """
        position = self._next_position(index)
        self.values_file(index).write(position, rows)
        self._next_positions[index.index_id] = position + len(rows)
        return position

    def _next_position(self, index: VectorIndex) -> int:
        position = self._next_positions.get(index.index_id)
        if position is None:
            position = self._database.connection.execute(
                "SELECT coalesce(max(position) + 1, 0) FROM vectors WHERE index_id = ?",
                (index.index_id,),
            ).fetchone()[0]
        return int(position)

    def write_vectors(
        self, index: VectorIndex, uploaded: Sequence[UploadedVector], *, replace: bool
    ) -> str:
        """Take an upload whose values are in the file already; returns the mutation id.

        `replace` tells upsert from insert. Of an id given twice, upsert keeps the last and
        insert the first.
        """
        ordered = uploaded if replace else list(reversed(uploaded))
        by_id = {vector.id: vector for vector in ordered}

        def apply(mutation: Mutation) -> int:
            ids = list(by_id)
            if replace:
                removed = self._end_versions(index, ids, mutation.seq)
            else:
                removed = 0
                kept = self._live_ids(index, ids)
                ids = [vector_id for vector_id in ids if vector_id not in kept]
            ids.sort()
            self._database.connection.executemany(
                "INSERT INTO vectors "
                "(index_id, id, from_seq, until_seq, position, namespace, metadata) "
                "VALUES (?,?,?,?,?,?,?)",
                (
                    (
                        index.index_id,
                        vector_id,
                        mutation.seq,
                        FOREVER,
                        by_id[vector_id].position,
                        by_id[vector_id].namespace,
                        by_id[vector_id].metadata,
                    )
                    for vector_id in ids
                ),
            )
            return len(ids) - removed

        return self._take(index, len(by_id), apply)

    def delete_vectors(self, index: VectorIndex, ids: Iterable[str]) -> str:
        """Take a deletion; ids that do not exist are no error."""
        distinct = list(dict.fromkeys(ids))
        return self._take(
            index,
            len(distinct),
            lambda mutation: -self._end_versions(index, distinct, mutation.seq),
        )

    def create_metadata_index(self, index: VectorIndex, name: str, kind: str) -> str:
        """Take the creation; one that exists stays as it is."""
        present = {one.property for one in self.metadata_indexes(index, FOREVER - 1)}
        if name not in present and len(present) >= METADATA_INDEXES_MAX:
            raise invalid_request(f"at most {METADATA_INDEXES_MAX} metadata indexes per index")

        def apply(mutation: Mutation) -> int:
            if name not in present:
                self._database.connection.execute(
                    "INSERT INTO metadata_indexes VALUES (?,?,?,?,?)",
                    (index.index_id, name, kind, mutation.seq, FOREVER),
                )
            return 0

        return self._take(index, 0, apply)

    def delete_metadata_index(self, index: VectorIndex, name: str) -> str:
        """Take the deletion. Raises ServiceError if there is none."""
        if name not in {one.property for one in self.metadata_indexes(index, FOREVER - 1)}:
            raise invalid_request("no metadata index for this property")

        def apply(mutation: Mutation) -> int:
            self._database.connection.execute(
                "UPDATE metadata_indexes SET until_seq = ? "
                "WHERE index_id = ? AND property = ? AND until_seq = ?",
                (mutation.seq, index.index_id, name, FOREVER),
            )
            return 0

        return self._take(index, 0, apply)

    def _take(self, index: VectorIndex, touched: int, apply: Callable[[Mutation], int]) -> str:
        """Store a write with its effect, atomically; `apply` returns the change of the count."""
        with self._database.transaction():
            mutation = self.log.next(index.index_id, touched=touched)
            grown = apply(mutation)
            self.log.append(index.index_id, mutation, vector_count=mutation.vector_count + grown)
        return mutation.mutation_id

    def _end_versions(self, index: VectorIndex, ids: Iterable[str], seq: int) -> int:
        cursor = self._database.connection.executemany(
            "UPDATE vectors SET until_seq = ? WHERE index_id = ? AND id = ? AND until_seq = ?",
            ((seq, index.index_id, vector_id, FOREVER) for vector_id in ids),
        )
        return cursor.rowcount

    def _live_ids(self, index: VectorIndex, ids: Sequence[str]) -> set[str]:
        return {one.id for one in self.get(index, ids, FOREVER - 1)}

    # Reads ----------------------------------------------------------------------------------

    def state(self, index: VectorIndex, purpose: str, *, force_stale: bool = False) -> int:
        """The state that a read shows; at the profile's rate an older one."""
        if force_stale:
            return self.log.before_last_job(index.index_id).seq
        stale = self._chance.strikes(purpose, self._profile.stale_read_rate)
        self.stale_reads += stale
        age_s = self._profile.stale_age_s if stale else 0.0
        return self.log.visible(index.index_id, age_s=age_s).seq

    def count(self, index: VectorIndex) -> int:
        """`vectorCount`, behind the watermark by the profile's lag."""
        return self.log.visible(index.index_id, age_s=self._profile.count_lag_s).vector_count

    # Walks ----------------------------------------------------------------------------------

    def list_page(self, index: VectorIndex, count: int, cursor: str | None) -> ListPage:
        """A page of ids; the walk shows the state of its first page to the end.

        The order is that of several sorted runs, one per upload.
        """
        if cursor is None:
            last = self.log.visible(index.index_id)
            walk = Walk(index.index_id, last.seq, last.vector_count, 0, 0.0)
        else:
            walk = Walk.decode(cursor)
            if walk.index_id != index.index_id or walk.expires_at <= self._clock.now():
                raise invalid_cursor()
        rows = self._database.connection.execute(
            "SELECT row_id, id FROM vectors WHERE row_id > ? AND index_id = ? "
            "AND from_seq <= ? AND until_seq > ? ORDER BY row_id LIMIT ?",
            (walk.after, index.index_id, walk.seq, walk.seq, count + 1),
        ).fetchall()
        ids = [vector_id for _, vector_id in rows[:count]]
        if len(rows) <= count:
            return ListPage(
                ids=ids, total_count=walk.total_count, next_cursor=None, expires_at=None
            )
        expires_at = self._clock.now() + self._profile.list_cursor_life_s
        after = rows[count - 1][0]
        onward = Walk(index.index_id, walk.seq, walk.total_count, after, expires_at)
        return ListPage(
            ids=ids,
            total_count=walk.total_count,
            next_cursor=onward.encode(),
            expires_at=expires_at,
        )
