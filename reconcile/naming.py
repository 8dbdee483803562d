"""Read records that differ once more, and name what differs in each."""

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

NAMED_MAX = 1_000  # vectors: 50 requests, and one look at the parts that hold them
SHOWN_MAX = 50


def name_vector_differences(
    run: RunFolder,
    target: VectorTarget,
    rows: Sequence[int],
    progress: Progress,
) -> Named:
    """Id -> what differs, of the first of these rows of the run; unchanged ones are left out.

    The differences are those of a read of its own. A snapshot that cannot be read names nothing:
    the verdict does not depend on the names.
    """
    try:
        expected = dict(read_expected(run, frozenset(sorted(rows)[:NAMED_MAX])))
    except ArtefactDamagedError as error:
        progress.say(f"what differs cannot be named: {error}")
        return {}
    named: Named = {}
    waiting = iter(expected.values())
    while some := list(islice(waiting, FETCH_IDS_MAX)):
        found = target.fetch([vector.id for vector in some])
        named |= _named(some, found)
    return named


def _named(expected: Sequence[Vector], found: dict[VectorId, Vector]) -> Named:
    pairs = ((one, found[one.id]) for one in expected if one.id in found)
    named = {str(one.id): vector_differences(one, other) for one, other in pairs}
    return {vector_id: what for vector_id, what in named.items() if what}


def write_named(folder: Folder, named: Named) -> str:
    """Write differs.jsonl, one object per id or key, durably; returns its address."""
    lines = [
        encode_canonical_json({"id": one, "differs": list(what)}) for one, what in named.items()
    ]
    folder.file(DIFFERS).write(b"".join(line + b"\n" for line in lines))
    return folder.address(DIFFERS)


def first_named(named: Named) -> Named:
    """The first of them, for a document."""
    return dict(islice(named.items(), SHOWN_MAX))


def named_lines(named: Named) -> list[str]:
    """The first of them as lines: id and names."""
    return [f"{one}: {', '.join(what)}" for one, what in first_named(named).items()]
