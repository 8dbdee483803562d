"""The record of a gate in the run's folder: numbered, sealed, never changed."""

from contextlib import suppress
from uuid import UUID

from migrate.errors import ArtefactDamagedError, ForeignStateError
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


def newest_record(run: RunFolder) -> tuple[StoredFile, dict[str, object]] | None:
    """The file of the newest record and its members; raises as `read_newest`."""
    fields = read_newest(run)
    if fields is None:
        return None
    return run.folder.child(GATE).file(gate_name(_newest_number(run))), fields


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
    return _read(run, number) if number else None


def _read(run: RunFolder, number: int) -> dict[str, object] | None:
    """The members of a record; None when it is not there."""
    file = run.folder.child(GATE).file(gate_name(number))
    if not file.is_there():
        return None
    content = file.read(bytes_max=REPORT_BYTES_MAX)
    return unseal_json(content, where=str(file), format_version=GATE_FORMAT, key=run.snapshot.key)


def is_newest_go(run: RunFolder) -> bool:
    """Whether the newest gate said go, about the run as it stands."""
    record = read_newest(run)
    if record is None or record.get("verdict") != "go":
        return False
    return record.get("journal_sha256") == run.journal.file.hash()[1]


def recorded_worker_version(run: RunFolder) -> str | None:
    """The version of the Worker that ran before the cutover, as the newest gate with one names it.

    A record that was changed is passed over: a rollback must not fail for lack of an advice.
    """
    for number in range(_newest_number(run), 0, -1):
        with suppress(ArtefactDamagedError, ForeignStateError, ValueError):
            version = (_read(run, number) or {}).get("worker_version")
            if version is not None:
                return str(UUID(str(version)))
    return None


def _newest_number(run: RunFolder) -> int:
    """0 before the first gate."""
    return max((_number(name) for name in run.folder.child(GATE).names()), default=0)
