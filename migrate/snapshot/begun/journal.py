"""What is known of a snapshot in progress: a journal, or records in an object store.

A local folder has a journal that only grows. In an object store, where nothing grows and several
machines may work on one snapshot, the same entries are objects that are created once: one for the
beginning, and one for each part (decision 0068).
"""

from contextlib import closing
from typing import Protocol

from migrate.model.canonical import encode_canonical_json
from migrate.model.sealed_json import damaged
from migrate.snapshot.begun.state import OPENED, PART_SEALED, decode_part
from migrate.snapshot.manifest import PartRecord
from migrate.storage.folder import Folder, WorkFolder
from migrate.storage.journal_file import LINE_BYTES_MAX, JournalFile
from migrate.storage.journal_lines import Entry
from migrate.storage.layout import JOURNAL, OPENED_RECORD, RECORDS, record_name
from migrate.workers.ordered import in_order

RECORD_BYTES_MAX = 16 * 1024  # ids are at most 36 characters
_READS_AT_ONCE = 16


class SnapshotJournal(Protocol):
    """The entries of a snapshot in progress, in an order in which they can be folded."""

    @property
    def entries(self) -> list[Entry]:
        """All of them, those of this process included."""

    def append(self, entry: Entry) -> None:
        """Add one entry; returns when it is durable."""

    def close(self) -> None:
        """Close what is open; repeats without harm."""


def open_snapshot_journal(folder: WorkFolder) -> SnapshotJournal:
    """The journal of a snapshot's folder, or its records where others may write too."""
    return SnapshotRecords(folder) if folder.is_shared else JournalFile(folder)


def is_begun(folder: Folder) -> bool:
    """Whether a snapshot was begun in the folder."""
    return folder.has_file(OPENED_RECORD if folder.is_shared else JOURNAL)


class SnapshotRecords:
    """The records of a snapshot in an object store. See `SnapshotJournal`."""

    def __init__(self, folder: Folder) -> None:
        """Read what is there. Raises ArtefactDamagedError."""
        self._folder = folder
        self.entries: list[Entry] = []
        file = folder.file(OPENED_RECORD)
        if file.is_there():
            self.entries = [{**file.read_json_object(bytes_max=LINE_BYTES_MAX), "type": OPENED}]
            self.entries += [_entry(part) for part in self._parts()]

    def _parts(self) -> list[PartRecord]:
        records = self._folder.child(RECORDS)
        with closing(
            in_order(
                lambda name: read_record(records, name),
                records.names(),
                width=2 * _READS_AT_ONCE,
                threads=_READS_AT_ONCE,
            )
        ) as found:
            parts = [part for _, part in found]
        return sorted(parts, key=lambda part: (part.ordinal, part.revision))

    def append(self, entry: Entry) -> None:
        """See SnapshotJournal. The record of a part may be there already: its reader wrote it."""
        if entry["type"] == PART_SEALED:
            create_record(self._folder, decode_part(entry))
        else:
            content = {key: value for key, value in entry.items() if key != "type"}
            self._folder.file(OPENED_RECORD).create(encode_canonical_json(content) + b"\n")
        self.entries.append(entry)

    def close(self) -> None:
        """Nothing is open."""


def create_record(folder: Folder, part: PartRecord) -> None:
    """Say durably that a part is written. Raises PreconditionError for another record of it."""
    file = folder.child(RECORDS).file(record_name(part.ordinal, part.revision))
    file.create(encode_canonical_json(part.as_json()) + b"\n")


def find_record(folder: Folder, ordinal: int, revision: int) -> PartRecord | None:
    """The record of a part; None when it is not written yet."""
    records, name = folder.child(RECORDS), record_name(ordinal, revision)
    return read_record(records, name) if records.has_file(name) else None


def read_record(records: Folder, name: str) -> PartRecord:
    """The part that a record names. Raises ArtefactDamagedError."""
    file = records.file(name)
    try:
        part = decode_part(file.read_json_object(bytes_max=RECORD_BYTES_MAX))
    except (KeyError, TypeError) as error:
        raise damaged(str(file), f"a field is missing or unknown ({error})") from error
    if record_name(part.ordinal, part.revision) != name:
        raise damaged(str(file), f"it is the record of part {part.ordinal}")
    return part


def _entry(part: PartRecord) -> Entry:
    return {"type": PART_SEALED, **part.as_json()}
