"""Draw queries from a part, and search a part, as functions of a task that any process can run.

A task names its part and holds none of its points. For the workers of a cluster the queries are a
file in the object store, named by its digest: a worker reads it once, and no task holds it.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from migrate.errors import ArtefactDamagedError
from migrate.mapping.payload import GroupRules, read_group
from migrate.model.canonical import decode_json
from migrate.model.choices import GroupType
from migrate.model.records import DenseColumn, Float32Matrix, Page, ShardKey, decode_shard_key
from migrate.snapshot.live_part import LivePart
from migrate.storage.folder import Folder, StoredFile
from migrate.storage.layout import queries_name
from reconcile.parity.nearest import NO_ROW, Answers, NestedSearch, PartFound, Queries

STORED_BYTES_MAX = 1024**3 + 64 * 1024**2  # of a file of queries, with answers


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRule:
    """Where a payload names its file. See `GroupRules`."""

    group_key: str
    group_type: GroupType
    key_field: str | None  # what a rule of the mapping calls the shard key, then a field too

    def file_of(self, payload: bytes, shard_key: ShardKey | None) -> str | None:
        """The file that a point is of; None: it is of none."""
        fields = decode_json(payload)
        if not self.group_key or not isinstance(fields, dict):
            return None
        if self.key_field is not None and shard_key is not None:
            fields = {**fields, self.key_field: decode_shard_key(shard_key)}
        return read_group(fields, self)


def file_rule(mapping: GroupRules, key_field: str | None) -> FileRule:
    """The rule of a mapping."""
    return FileRule(group_key=mapping.group_key, group_type=mapping.group_type, key_field=key_field)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawTask:
    """Read the vectors of the rows that the part names."""

    part: LivePart
    vector_name: str
    rule: FileRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Vectors of a part, in row order; rows that cannot be a query are left out."""

    rows: list[int]
    values: list[Float32Matrix]
    names: list[str]
    files: list[str | None]


def draw(task: DrawTask) -> Drawn:
    """Read the part's rows."""
    drawn = Drawn(rows=[], values=[], names=[], files=[])
    for rows, page in task.part.read(with_vectors=(task.vector_name,)):
        values = dense_values(page, task.vector_name)
        for at in np.flatnonzero(usable_rows(page, task.vector_name) & (rows != NO_ROW)).tolist():
            key = None if page.shard_keys is None else page.shard_keys[at]
            drawn.rows.append(int(rows[at]))
            drawn.values.append(values[at].copy())  # the page is not kept
            drawn.names.append(page.ids[at].text)
            drawn.files.append(task.rule.file_of(page.payloads[at], key))
    return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What is searched for: queries, and what another search found for them."""

    queries: Queries
    answers: Answers | None

    def load(self) -> "Searched":
        """Itself. See `StoredSearched`."""
        return self


@dataclass(frozen=True, slots=True)
class StoredSearched:
    """The same as a file that every worker reaches."""

    file: StoredFile
    sha256: str

    def load(self) -> Searched:
        """Read the file, once in a process. Raises ArtefactDamagedError."""
        return _load(self)


def store(searched: Searched, folder: Folder) -> StoredSearched:
    """Write what is searched for into a folder; it may be there already."""
    content = io.BytesIO()
    queries, answers = searched.queries, searched.answers
    none = np.empty(0, dtype=np.int64)
    np.savez(
        content,
        values=queries.values,
        own_rows=queries.own_rows,
        width=none if answers is None else np.array([answers.width]),
        queries=none if answers is None else answers.queries,
        rows=none if answers is None else answers.rows,
    )
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    folder.make()
    file = folder.file(queries_name(sha256))
    file.create(content.getvalue())
    return StoredSearched(file, sha256)


@lru_cache(maxsize=1)
def _load(stored: StoredSearched) -> Searched:
    content = stored.file.read(bytes_max=STORED_BYTES_MAX)
    if hashlib.sha256(content).hexdigest() != stored.sha256:
        raise ArtefactDamagedError(
            f"{stored.file}: found other bytes than its name says",
            remedy="remove it, and run `q2v parity` again",
        )
    with np.load(io.BytesIO(content)) as columns:  # makes no objects unless it is asked to
        answers = None
        for width in columns["width"].tolist():
            answers = Answers(width=width, queries=columns["queries"], rows=columns["rows"])
        queries = Queries(values=columns["values"], own_rows=columns["own_rows"])
    return Searched(queries=queries, answers=answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """Search the rows that the part names."""

    part: LivePart
    vector_name: str
    searched: Searched | StoredSearched
    widths: tuple[int, ...]
    metric: str
    floors: dict[int, npt.NDArray[np.float32]]  # see `NestedSearch`


def search(task: SearchTask) -> PartFound:
    """Find what may be among the best; every machine with the same kind of processor finds it."""
    searched = task.searched.load()
    nested = NestedSearch(
        searched.queries,
        task.widths,
        metric=task.metric,
        answers=searched.answers,
        floors=task.floors,
    )
    for rows, page in task.part.read(with_vectors=(task.vector_name,)):
        values, moving = dense_values(page, task.vector_name), rows != NO_ROW
        moving &= usable_rows(page, task.vector_name)
        if moving.all():
            nested.add(rows, values)  # without a copy of the page
        else:
            nested.add(rows[moving], values[moving])
    return nested.found()


def dense_values(page: Page, vector_name: str) -> Float32Matrix:
    """The values of a page, shape (points, dimensions)."""
    column = page.vectors[vector_name]
    assert isinstance(column, DenseColumn), "a dense vector was chosen"
    return column.values


def usable_rows(page: Page, vector_name: str) -> npt.NDArray[np.bool_]:
    """Which points of a page have the vector, with finite numbers that are not all zero."""
    column = page.vectors[vector_name]
    assert isinstance(column, DenseColumn), "a dense vector was chosen"
    usable: npt.NDArray[np.bool_] = (
        column.present & np.isfinite(column.values).all(axis=1) & column.values.any(axis=1)
    )
    return usable
