"""The vectors that are searched for: a sample of the stored ones, or those of a file."""

import io
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from migrate.errors import ArtefactDamagedError, UsageError
from migrate.model.records import Float32Matrix
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import StoredFile
from migrate.words import counted
from migrate.workers.executors import Machines, run_tasks
from reconcile.parity.nearest import NO_ROW, Queries
from reconcile.parity.tasks import DrawTask, FileRule, draw
from reconcile.sampling import choose_rows

QUERIES_MAX = 10_000
FILE_BYTES_MAX = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedQueries:
    """Queries, with a name and a file for each; None: it is of no file."""

    vectors: Queries
    names: tuple[str, ...]
    files: tuple[str | None, ...]
    file_sha256: str | None = None  # of the file that they come from; None: a sample


def sample_stored(
    snapshot: Snapshot,
    vector_name: str,
    rule: FileRule,
    excluded: AbstractSet[int],
    *,
    sample: int,
    seed: int,
    machines: Machines | None = None,
) -> NamedQueries:
    """Stored vectors of `sample` rows, drawn by the seed; fewer where a row has no vector.

    A query is named by its point's id. The parts are read by `machines`; None: here.
    """
    chosen = choose_rows(snapshot.manifest.points, excluded, sample=sample, seed=seed)
    wanted = np.array(sorted(chosen), dtype=np.int64)
    tasks = (
        DrawTask(part=part, vector_name=vector_name, rule=rule)
        for whole in snapshot.live_parts()
        if (part := whole.only(np.isin(whole.rows, wanted))).wanted
    )
    # In the order of the rows, which in a chain is not that of the parts.
    drawn = sorted(
        (
            each
            for one in run_tasks(draw, tasks, machines)
            for each in zip(one.rows, one.values, one.names, one.files, strict=True)
        ),
        key=lambda each: each[0],
    )
    return _named(
        [values for _, values, _, _ in drawn],
        [row for row, _, _, _ in drawn],
        [name for _, _, name, _ in drawn],
        [file for _, _, _, file in drawn],
    )


def read_queries(stored: StoredFile, dimensions: int) -> NamedQueries:
    """The vectors of a file of NumPy, shape (queries, dimensions), numbers of 32 or 64 bits.

    A query is named by its place, from 1 on. Raises UsageError for a file that is something else.
    """
    if not stored.is_there():
        raise _refused(stored, "no such file", dimensions)
    try:
        # np.load makes no objects unless it is asked to.
        found = np.load(io.BytesIO(stored.read(bytes_max=FILE_BYTES_MAX)))
    except ArtefactDamagedError as error:
        raise _refused(stored, f"more than {FILE_BYTES_MAX:,} B", dimensions) from error
    except (ValueError, EOFError, OSError) as error:
        raise _refused(
            stored, f"no file of NumPy that holds numbers ({error})", dimensions
        ) from error
    match found:
        case np.ndarray(ndim=2, shape=(count, width)) if found.dtype.kind == "f":
            pass
        case _:
            raise _refused(stored, "no matrix of floating-point numbers", dimensions)
    if width != dimensions or count > QUERIES_MAX:
        found = f"{counted(count, 'vector')} of {counted(width, 'value')}"
        raise _refused(stored, found, dimensions)
    with np.errstate(over="ignore"):  # what no float32 can hold is refused as infinity below
        values = np.ascontiguousarray(found, dtype=np.float32)
    bad = np.flatnonzero(~(np.isfinite(values).all(axis=1) & values.any(axis=1)))
    if len(bad):
        what = f"NaN, infinity or nothing but zeros in vector {bad[0] + 1:,}"
        raise _refused(stored, what, dimensions)
    names = [f"query {number}" for number in range(1, len(values) + 1)]
    named = _named(list(values), [NO_ROW] * len(values), names, [None] * len(values))
    return replace(named, file_sha256=stored.hash()[1])


def _named(
    values: Sequence[Float32Matrix],
    rows: Sequence[int],
    names: Sequence[str],
    files: Sequence[str | None],
) -> NamedQueries:
    matrix = np.stack(values) if values else np.empty((0, 0), dtype=np.float32)
    vectors = Queries(values=matrix, own_rows=np.array(rows, dtype=np.int64))
    return NamedQueries(vectors=vectors, names=tuple(names), files=tuple(files))


def _refused(stored: StoredFile, found: str, dimensions: int) -> UsageError:
    return UsageError(
        f"{stored}: found {found}, expected at most {QUERIES_MAX:,} vectors of {dimensions:,} "
        "finite values, as numpy.save writes them",
        remedy="correct the file, or leave --queries out: stored vectors are searched for then",
    )
