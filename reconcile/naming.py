"""Read differing records again and name the fields that differ in each."""

from collections.abc import Sequence
from itertools import islice

from migrate.errors import ArtefactDamagedError
from migrate.model.canonical import encode_canonical_json
from migrate.model.limits import FETCH_IDS_MAX
from migrate.model.records import Vector, VectorId
from migrate.ports import Progress, VectorTarget
from migrate.run.folder import RunFolder
from migrate.storage.folder import Folder
from migrate.storage.layout import DIFFERS
from migrate.upload.mapped import read_expected
from reconcile.differences import Named, vector_differences

NAMED_MAX = 1_000  # vectors: read with 50 requests and one pass over the parts that hold them
SHOWN_MAX = 50


def name_vector_differences(
    run: RunFolder,
    target: VectorTarget,
    rows: Sequence[int],
    progress: Progress,
) -> Named:
    """Vector id -> names of the differing fields, for the first 1,000 of these rows of the run.

    Reads the vectors again. Leaves out a vector that is absent or equal in this read. A snapshot
    that cannot be read gives an empty result, since the verdict does not depend on the names.
    """
    try:
        expected = dict(read_expected(run, frozenset(sorted(rows)[:NAMED_MAX])))
    except ArtefactDamagedError as error:
        progress.say(f"the differing fields cannot be named: {error}")
        return {}
    named: Named = {}
    waiting = iter(expected.values())
    while some := list(islice(waiting, FETCH_IDS_MAX)):
        found = target.fetch([vector.id for vector in some])
        named |= _named(some, found)
    return named


def _named(expected: Sequence[Vector], found: dict[VectorId, Vector]) -> Named:
    pairs = ((vector, found[vector.id]) for vector in expected if vector.id in found)
    named = {str(vector.id): vector_differences(vector, read) for vector, read in pairs}
    return {vector_id: what for vector_id, what in named.items() if what}


def write_named(folder: Folder, named: Named) -> str:
    """Write differs.jsonl durably, one object per id or key; returns the file's address."""
    lines = [
        encode_canonical_json({"id": name, "differs": list(what)}) for name, what in named.items()
    ]
    folder.file(DIFFERS).write(b"".join(line + b"\n" for line in lines))
    return folder.address(DIFFERS)


def first_named(named: Named) -> Named:
    """The first 50 entries, in the same order: as many as a document shows."""
    return dict(islice(named.items(), SHOWN_MAX))


def named_lines(named: Named) -> list[str]:
    """The first 50 entries as lines "<id>: <field>, <field>"."""
    return [f"{name}: {', '.join(what)}" for name, what in first_named(named).items()]
