"""Payloads of vectors that differ, from the snapshot: only for a page that was asked for them."""

from migrate.run.folder import RunFolder
from migrate.storage.id_files import encode_id
from reconcile.page.documents import Documents

PAYLOADS_MAX = 100  # vectors; each costs a read of a row group of the snapshot
CHARACTERS_MAX = 2_000  # of one payload
_OF_THE_RUN = frozenset({"missing", "mismatched", "unreadable", "unlisted", "unfiltered"})


def payloads_of(run: RunFolder, documents: Documents) -> dict[str, str]:
    """Line of an id -> its point's payload as JSON, for the first vectors of the run that differ.

    Raises ArtefactDamagedError for a part of the snapshot that is not as it was sealed.
    """
    lines = [line for rows in documents.rows if rows.name in _OF_THE_RUN for line in rows.lines]
    wanted = set(dict.fromkeys(lines[:PAYLOADS_MAX]))
    rows: dict[int, str] = {}
    for batch in run.targets(["row", "vector_id"]) if wanted else ():
        pairs = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        rows |= {row: line for row, name in pairs if (line := encode_id(name)) in wanted}
    found = {}
    for row, line in sorted(rows.items()):
        (point,) = run.snapshot.read(with_vectors=(), first_row=row, end_row=row + 1)
        text = point.page.payloads[0].decode()
        cut = len(text) > CHARACTERS_MAX
        found[line] = f"{text[:CHARACTERS_MAX]}…" if cut else text
    return found
