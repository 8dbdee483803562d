"""Check what decides about the target's content, before the first write of a process.

A stage that reads a file checks it as well. That may be after writes have begun: these checks come
before them, so that a damaged file leaves the target as it is.
"""

from migrate.model.sealed_json import damaged
from migrate.run.folder import RunFolder
from migrate.run.journal import RoundState, Store
from migrate.run.pending import RowRange
from migrate.snapshot.folder import part_file
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.parts import repair_remedy


def check_parts(run: RunFolder, round_: RoundState | None) -> None:
    """Hash every part of the snapshot that an upload of this round still reads.

    `round_` None is a round that has sent nothing yet. A repair goes through all rows as well to
    find its own. Raises ArtefactDamagedError for a part that is missing or not as the manifest
    says.
    """
    if round_ is not None and round_.processed:
        return
    pending = [RowRange(0, run.plan.points)]
    if round_ is not None:
        sent = round_.batches[Store.VECTORS]
        in_doubt = [RowRange(one.first, one.end) for one in sent if one.in_doubt]
        pending = [*round_.pending.ranges, *in_doubt]
    for part, first, end in _parts(run):
        if any(one.first < end and first < one.end for one in pending):
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
        why = "not the bytes that the manifest names"
        raise damaged(str(file), why, remedy=repair_remedy(part))
