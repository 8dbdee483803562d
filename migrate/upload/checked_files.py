"""Check the files that decide what is written to the target, before the first write of a process.

Each stage also checks the files that it reads, possibly after writes have begun. The checks here
come first, so that the target is not changed when a file is damaged.
"""

from migrate.model.sealed_json import damaged
from migrate.run.folder import RunFolder
from migrate.run.journal import RoundState, Store
from migrate.run.pending import RowRange
from migrate.snapshot.folder import part_file
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.parts import repair_remedy


def check_parts(run: RunFolder, current: RoundState | None) -> None:
    """Hash every part of the snapshot that an upload of this round still reads.

    `current` None is a round that has sent nothing yet. A repair reads all rows too, to find those
    it writes. Raises ArtefactDamagedError for a part that is missing or does not match the
    manifest.
    """
    if current is not None and current.processed:
        return
    pending = [RowRange(0, run.plan.points)]
    if current is not None:
        sent = current.batches[Store.VECTORS]
        in_doubt = [RowRange(batch.first, batch.end) for batch in sent if batch.in_doubt]
        pending = [*current.pending.ranges, *in_doubt]
    for part, first, end in _parts(run):
        if any(rows.first < end and first < rows.end for rows in pending):
            _check_part(run, part)


def _parts(run: RunFolder) -> list[tuple[PartRecord, int, int]]:
    """Every part with its first row and the row after its last one."""
    found: list[tuple[PartRecord, int, int]] = []
    row = 0
    for part in run.snapshot.manifest.parts:
        found.append((part, row, row + part.rows))
        row += part.rows
    return found


def _check_part(run: RunFolder, part: PartRecord) -> None:
    file = part_file(run.snapshot.folder, part.ordinal)
    if not file.is_there():
        raise damaged(str(file), "the part is missing", remedy=repair_remedy(part))
    if file.hash() != (part.bytes, part.sha256):
        why = "its bytes do not match the manifest"
        raise damaged(str(file), why, remedy=repair_remedy(part))
