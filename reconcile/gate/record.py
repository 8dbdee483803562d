"""The record of a gate in the run's folder: numbered, sealed, never changed."""

from migrate.model.sealed_json import unseal_json
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder
from migrate.storage.folder import StoredFile
from migrate.storage.layout import GATE, gate_name

GATE_FORMAT = 1


def new_file(run: RunFolder) -> StoredFile:
    """The file of the next record; its folder is made."""
    folder = run.folder.child(GATE)
    folder.make()
    return folder.file(gate_name(_newest_number(run) + 1))


def _number(name: str) -> int:
    """The number of a record by its name; 0 for another file."""
    number = name.partition(".")[0]
    is_record = number.isascii() and number.isdigit() and name == gate_name(int(number))
    return int(number) if is_record else 0


def read_newest(run: RunFolder) -> dict[str, object] | None:
    """The members of the newest record; None before the first gate.

    Raises ArtefactDamagedError when it was changed, ForeignStateError for another format.
    """
    number = _newest_number(run)
    if not number:
        return None
    file = run.folder.child(GATE).file(gate_name(number))
    content = file.read(bytes_max=REPORT_BYTES_MAX)
    return unseal_json(content, where=str(file), format_version=GATE_FORMAT, key=run.snapshot.key)


def is_newest_go(run: RunFolder) -> bool:
    """Whether the newest gate said go, about the run as it stands."""
    record = read_newest(run)
    if record is None or record.get("verdict") != "go":
        return False
    return record.get("journal_sha256") == run.journal.file.hash()[1]


def _newest_number(run: RunFolder) -> int:
    """0 before the first gate."""
    return max((_number(name) for name in run.folder.child(GATE).names()), default=0)
