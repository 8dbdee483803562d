"""A file store over Vectorize and Workers KV, with the KV index and the counter kept right.

The order of the writes is the safety argument (decision 0039). Vectors are written before the
entry that names them, and removed before the entry that no longer names them: so an entry never
names a vector that was not accepted, and after a kill it still says what is left to remove. The
counter comes last, and is the total that the index itself announces.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain

from typing_extensions import override

from migrate.errors import PreconditionError, TargetRefusedError, UsageError
from migrate.file_stores.contract import CollectionInfo, FileChunk, FileStore, FileVector
from migrate.file_stores.file_index import NO_ENTRY, FileEntry, FileIndex
from migrate.file_stores.rules import CheckedVector, FileStoreRules, group_by_file
from migrate.mapping.field_paths import is_filterable
from migrate.mapping.upload_body import Line, build_upload, encode_line
from migrate.model.digest import digest_vectors
from migrate.model.limits import (
    DELETE_IDS_MAX,
    DIMENSIONS_MAX,
    DIMENSIONS_MIN,
    FETCH_IDS_MAX,
    KV_TTL_S_MIN,
)
from migrate.model.records import Accepted, Vector, VectorId, VectorIndex
from migrate.plan.target_shape import check_index
from migrate.ports import Target
from migrate.provision_index import provision_index
from migrate.runtime import Runtime
from migrate.upload.settle import LastWrite, SettleRules, spread, wait_until_processed
from migrate.workers.ordered import in_order
from migrate.workers.repeat import refine_until, repeat_until

SETTLE = SettleRules(timeout_s=900, poll_s=5)
READS_MAX = 5  # of one thing, until they show it as it has to be
READ_PAUSE_S = 1.0  # between two of them


class VectorizeFileStore(FileStore):
    """A file store in a vector index and a KV namespace.

    Beside the vectors it keeps, for readers that have no listing, an entry in KV for each file (a
    JSON list of its vector ids) and the counter (the number of all vectors of the index). Vectors
    are visible to every reader when a call returns. KV entries are visible to other readers up to
    a minute later or more; a reader that has looked for a key in vain may keep not seeing it for
    as long. This store itself sees what it has written.

    Between two steps of a call, and after a kill, readers may see an entry that names removed
    vectors (they get the others), vectors that no entry names yet, and a former counter.

    Also raises TargetRefusedError, and IndeterminateError when a write is not visible in time: then
    make the same call again.
    """

    def __init__(
        self,
        target: Target,
        rules: FileStoreRules,
        runtime: Runtime,
        *,
        settle: SettleRules = SETTLE,
        kv_settle_s: float = 90.0,
    ) -> None:
        """Sends nothing. `settle` says how long a call waits until its vectors are visible.

        `kv_settle_s`: for so long after a write KV may show what was there before. A store that is
        younger waits, before its first write, for what an earlier process may have written; pass 0
        when none has. Raises UsageError for rules that the services cannot meet.
        """
        if not DIMENSIONS_MIN <= rules.dimensions <= DIMENSIONS_MAX:
            raise UsageError(
                f"{rules.dimensions} dimensions, a vector index takes {DIMENSIONS_MIN} to "
                f"{DIMENSIONS_MAX}",
                remedy="ask the embedding model for a number of dimensions in this range",
            )
        ttl_s = rules.writes.ttl_s
        if ttl_s is not None and ttl_s < KV_TTL_S_MIN:
            raise UsageError(
                f"ttl_s is {ttl_s}, KV takes {KV_TTL_S_MIN} or more",
                remedy="use None: an entry that expires leaves its vectors behind",
            )
        self._vectors = target.vectors
        self._rules = rules
        self._runtime = runtime
        self._settle = settle
        self._pause_s = min(READ_PAUSE_S, settle.poll_s)
        self._files = FileIndex(target.kv, rules, runtime, settle_s=kv_settle_s)
        self._index_checked = False

    @override
    def initialize_collection(self) -> None:
        """Create the vector index and, where one can be, that of the file's id; write the counter.

        The KV namespace has to exist.
        """
        mapping = self._rules.mapping
        wanted = {mapping.group_key: mapping.group_index_type}
        if not is_filterable(mapping.group_key):
            wanted = {}
        report = provision_index(
            self._vectors, self._rules.values, wanted, self._settle, self._runtime
        )
        for warning in report.warnings:
            self._runtime.progress.say(warning)
        self._index_checked = True
        self._write_counter()

    @override
    def upsert_vectors(self, vectors: Sequence[FileVector], *, whole_files: bool = False) -> None:
        """Vectors first, then the entries of their files, then the counter.

        Sends, for n vectors of f files: n/2,500 uploads, f/100 reads and f/5,000 writes of KV, and
        about ten requests more. A call for many files costs hardly more than one for a single file.
        """
        checked = self._rules.check_vectors(vectors)
        if not checked:
            return
        self._check_index()
        written = group_by_file(checked)
        former = self._files.read_settled(list(written))
        namespaces = {one.chunk.file_id: one.namespace for one in checked}
        entries = {
            file_id: FileEntry(
                tuple(
                    self._in_chunk_order(
                        ids if whole_files else dict.fromkeys([*former[file_id].ids, *ids])
                    )
                ),
                namespaces[file_id],
            )
            for file_id, ids in written.items()
        }
        self._files.check(entries)
        _check_undivided(written, former, entries)
        kept = {vector_id for entry in entries.values() for vector_id in entry.ids}
        self._upload(checked)
        self._remove([one for entry in former.values() for one in entry.ids if one not in kept])
        self._files.write(entries)
        self._write_counter()

    @override
    def get_vectors_by_file_id(self, file_id: str) -> list[FileVector]:
        """The vectors that the file's entry names and that exist, read 20 a request."""
        self._rules.check_file_id(file_id)
        self._check_index()
        ids = self._files.read([file_id])[file_id].ids
        found: dict[VectorId, Vector] = {}
        # A read may show a former state, so what it lacks is read again.
        repeat_until(
            lambda: self._fetch([one for one in ids if one not in found], found),
            lambda _: len(found) == len(ids),
            [self._pause_s] * (READS_MAX - 1),
            clock=self._runtime.clock,
        )
        return [
            FileVector(id=one, values=found[one].values, metadata=found[one].metadata or {})
            for one in ids
            if one in found
        ]

    @override
    def delete_vectors_by_ids(self, ids: Sequence[str]) -> None:
        """Vectors first, 100 a request, then the entries of their files, then the counter."""
        removed = self._rules.parse_ids(ids)
        if not removed:
            return
        self._check_index()
        former = self._files.read_settled(list(removed))
        self._remove([one for ids in removed.values() for one in ids])
        entries = {
            file_id: replace(
                former[file_id], ids=tuple(one for one in former[file_id].ids if one not in ids)
            )
            for file_id, ids in removed.items()
            if not ids.keys().isdisjoint(former[file_id].ids)
        }
        self._files.write(entries)
        self._write_counter()

    @override
    def delete_vectors_by_file_id(self, file_id: str) -> None:
        """The vectors that the file's entry names, then the entry, then the counter."""
        self._rules.check_file_id(file_id)
        self._check_index()
        ids = self._files.read_settled([file_id])[file_id].ids
        self._remove(ids)
        if ids:
            self._files.write({file_id: NO_ENTRY})
        self._write_counter()

    @override
    def get_collection_info(self) -> CollectionInfo:
        """The vector index."""
        index = self._read_index()
        return CollectionInfo(
            name=index.name,
            dimensions=index.dimensions,
            metric=index.metric,
            vectors=self._vectors.count_vectors(),
        )

    @override
    def count_vectors(self) -> int:
        """The total that the index announces; the counter in KV is the same number, later."""
        self._check_index()
        return self._vectors.count_vectors()

    @override
    def generate_vector_id(self, file_id: str, chunk_index: int) -> VectorId:
        """See `FileStore`."""
        return self._rules.generate_vector_id(file_id, chunk_index)

    @override
    def parse_vector_id(self, vector_id: str) -> FileChunk | None:
        """See `FileStore`."""
        return self._rules.parse_vector_id(vector_id)

    def check_file_id(self, file_id: str) -> None:
        """Raises UsageError for a file that has no KV key, or the key of the counter."""
        self._rules.check_file_id(file_id)

    def _read_index(self) -> VectorIndex:
        """Raises PreconditionError when it does not exist or has another shape."""
        index = self._vectors.read_index()
        if index is None:
            name = self._vectors.identity()["vector_index"]
            raise PreconditionError(
                f"there is no vector index '{name}'",
                remedy="call initialize_collection, or correct the name",
            )
        check_index(index, self._rules.values)
        return index

    def _check_index(self) -> None:
        if not self._index_checked:
            self._read_index()
            self._index_checked = True

    def _in_chunk_order(self, ids: Iterable[VectorId]) -> list[VectorId]:
        """Ids that another program has put into an entry, in a form of its own, come last."""

        def place(vector_id: VectorId) -> tuple[bool, int]:
            chunk = self._rules.parse_vector_id(vector_id)
            return chunk is None, 0 if chunk is None else chunk.chunk_index

        return sorted(ids, key=place)

    def _fetch(self, ids: Sequence[VectorId], found: dict[VectorId, Vector]) -> None:
        """Read the vectors and put those that exist into `found`."""
        reads = in_order(
            self._vectors.fetch,
            _slices(ids, FETCH_IDS_MAX),
            width=self._runtime.reads_in_flight,
        )
        with closing(reads):
            for _, vectors in reads:
                found |= vectors

    def _upload(self, vectors: Sequence[CheckedVector]) -> None:
        """Send the vectors, and wait until the last of them read back as they were sent."""
        writes = self._rules.writes
        lines = self._lines(vectors)
        last: tuple[Accepted, Sequence[CheckedVector]] | None = None
        while True:
            encoded, rest = build_upload(
                lines, vectors_max=writes.vectors_per_upload, body_bytes_max=writes.body_bytes
            )
            if encoded is None:
                break
            sent = vectors[encoded.upload.first_row : encoded.upload.end_row]
            last = self._send(sent, encoded.body)
            lines = lines if rest is None else chain([rest], lines)
        assert last is not None, "an upload has at least one vector"
        accepted, newest = last
        expected: dict[VectorId, bytes | None] = {
            one.id: digest_vectors(
                [one.id], one.values.reshape(1, -1), [one.metadata], [one.namespace]
            )[0]
            for one in (newest[at] for at in spread(len(newest), FETCH_IDS_MAX))
        }
        self._wait(accepted, expected, len(vectors))

    def _send(
        self, vectors: Sequence[CheckedVector], body: Sequence[bytes]
    ) -> tuple[Accepted, Sequence[CheckedVector]]:
        """Send one upload, in halves if it is too large; the last answer and its vectors."""
        try:
            return self._vectors.upsert(body), vectors
        except TargetRefusedError as error:
            if not error.too_large or len(vectors) == 1:
                raise
        half = len(vectors) // 2
        self._send_again(vectors[:half])
        return self._send_again(vectors[half:])

    def _send_again(
        self, vectors: Sequence[CheckedVector]
    ) -> tuple[Accepted, Sequence[CheckedVector]]:
        return self._send(vectors, [line.text for line in self._lines(vectors)])

    def _lines(self, vectors: Sequence[CheckedVector]) -> Iterator[Line]:
        for row, one in enumerate(vectors):
            text = encode_line(one.id, one.values, one.metadata, one.namespace)
            yield Line(row=row, vector_id=one.id, text=text)

    def _remove(self, ids: Sequence[VectorId]) -> None:
        """Remove the vectors, and wait until the last of them are gone."""
        accepted: Accepted | None = None
        for some in _slices(ids, DELETE_IDS_MAX):
            accepted = self._vectors.delete(some)
        if accepted is not None:
            self._wait(accepted, dict.fromkeys(ids[-FETCH_IDS_MAX:]), len(ids))

    def _wait(
        self, accepted: Accepted, expected: Mapping[VectorId, bytes | None], vectors: int
    ) -> None:
        last = LastWrite(
            mutation_id=accepted.mutation_id, server_date=accepted.server_date, vectors=vectors
        )
        wait_until_processed(self._vectors, last, expected, self._settle, self._runtime)

    def _write_counter(self) -> None:
        """Write what the index announces, twice in a row: a single read may show a former state."""
        count = self._vectors.count_vectors
        total = refine_until(
            count,
            lambda _: count(),
            lambda before, now: before == now,
            [self._pause_s] * (READS_MAX - 1),
            clock=self._runtime.clock,
        )
        self._files.write_counter(total)


def _check_undivided(
    written: Mapping[str, Mapping[VectorId, int]],
    former: Mapping[str, FileEntry],
    entries: Mapping[str, FileEntry],
) -> None:
    """Raises UsageError for a file that would have vectors in two namespaces."""
    for file_id, entry in entries.items():
        before = former[file_id].namespace
        stay = entry.ids if before is not None and before != entry.namespace else ()
        left = [one for one in stay if one not in written[file_id]]
        if left:
            raise UsageError(
                f"file {file_id!r} has vectors in namespace '{before}', and '{left[0]}' would stay "
                f"there; this call puts others into '{entry.namespace}'",
                remedy="pass all vectors of the file, with whole_files=True; nothing was sent",
            )


def _slices(ids: Sequence[VectorId], size: int) -> Iterator[Sequence[VectorId]]:
    for first in range(0, len(ids), size):
        yield ids[first : first + size]
