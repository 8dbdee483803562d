"""The folder of one reconcile: its journal and its id files, from which it can be resumed.

`reconcile/<n>/` is finished when it holds report.json, which is written last. A folder without it
belongs to an unfinished session: it is resumed, or the next report names it as abandoned.
"""

from collections.abc import Iterable

from migrate.errors import ArtefactDamagedError
from migrate.model.sealed_json import damaged
from migrate.model.stamps import iso_stamp
from migrate.ports import Clock
from migrate.run.drift_report import IdSums
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.storage.folder import StoredFile, WorkFolder
from migrate.storage.id_files import read_checked_ids, write_ids
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import JOURNAL_FORMAT, Entry
from migrate.storage.layout import REPORT, id_file_name, reconcile_name
from reconcile.session import (
    Kind,
    Moment,
    Pass,
    SessionState,
    apply_entry,
    fold_session,
    why_not_resumed,
)

_REMEDY = (
    "this unfinished reconcile cannot be used; find out what changed the file, then run "
    "`q2v reconcile --fresh`, which reads everything again"
)


class Session:
    """One reconcile, across its interruptions. The caller holds the folder's lock.

    Writes the journal and the id files; `close` closes the journal.
    """

    def __init__(
        self, folder: WorkFolder, journal: JournalFile, abandoned: tuple[str, ...], clock: Clock
    ) -> None:
        self.folder = folder
        self.abandoned = abandoned  # folder names of unfinished sessions that are not resumed
        self._journal = journal
        self._clock = clock
        self._state = fold_session(journal.entries)
        self._sums: IdSums = {}

    @property
    def ordinal(self) -> int:
        """The number of the reconcile within the run, from 1."""
        return int(self.folder.name)

    @property
    def state(self) -> SessionState:
        """The state after the last entry."""
        return self._state

    @property
    def opened_at(self) -> str:
        """When the session was opened, RFC 3339."""
        assert self._state.opened_at is not None
        return iso_stamp(self._state.opened_at.wall_s)

    def content_pass(self, ordinal: int) -> Pass:
        """What the journal holds of a pass over the contents; an empty Pass if it has not begun."""
        passes = self._state.passes
        return passes[ordinal] if ordinal < len(passes) else Pass()

    def note(self, kind: Kind, **members: object) -> None:
        """Append one entry with the time of both clocks; returns when it is durable."""
        now = _now(self._clock)
        self._journal.append(
            {
                "type": kind.value,
                **members,
                "wall_s": now.wall_s,
                "monotonic_s": now.monotonic_s,
            }
        )
        apply_entry(self._state, self._journal.entries[-1])

    def note_contents(self, ordinal: int, unnoted: Pass, *, completed: bool) -> None:
        """Append what was found of a pass since the entry before."""
        self.note(
            Kind.CONTENTS_READ,
            look=ordinal,
            end_row=unnoted.end_row,
            checked=unnoted.checked,
            mismatched=unnoted.mismatched,
            unreadable=unnoted.unreadable,
            foreign=unnoted.foreign,
            verified=unnoted.verified,
            fell_back=unnoted.fell_back,
            completed=completed,
        )

    def write_classes(self, classes: dict[str, Iterable[str]]) -> dict[str, list[object]]:
        """Write one durable id file per class; returns the `files` member for the journal entry.

        The member is class -> [number of ids, SHA-256]. The files hold every id, since a repair
        writes exactly the vectors and keys that they name.
        """
        for name, ids in classes.items():
            self._sums[name] = write_ids(self.id_file(name), ids)
        return {name: list(self._sums[name]) for name in classes}

    def read_class(self, entry: Entry, name: str) -> list[str]:
        """The ids of a class from its file; ArtefactDamagedError if the entry has another sum."""
        files = entry.get("files")
        assert isinstance(files, dict), "written by `write_classes`"
        self._sums[name] = count, sha256 = files[name]
        return read_checked_ids(self.id_file(name), count, sha256, remedy=_REMEDY)

    def sums(self, names: Iterable[str]) -> IdSums:
        """Class -> number of ids and SHA-256 of its file.

        Raises KeyError for a class that this process has neither written nor read.
        """
        return {name: self._sums[name] for name in names}

    def id_file(self, name: str) -> StoredFile:
        """The id file of a class of drift, which need not exist."""
        return self.folder.file(id_file_name(name))

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def open_session(run: RunFolder, inputs: str, runtime: Runtime, *, fresh: bool) -> Session:
    """Resume the newest session of the run if `why_not_resumed` allows it, else open a new one.

    `inputs` is the SHA-256 of what is compared, and how. With `fresh` no earlier session is read.
    Raises ArtefactDamagedError when the journal of the newest session is damaged.
    """
    numbers = sorted(int(name) for name in run.reconciles.names() if name.isdigit())
    folders = [run.reconciles.child(reconcile_name(number)) for number in numbers]
    unfinished = [folder for folder in folders if not folder.has_file(REPORT)]
    if not fresh and unfinished and unfinished[-1] == folders[-1]:
        newest = unfinished[-1]
        journal = _open_journal(newest)
        state = _fold(journal)
        why_not = why_not_resumed(state, inputs, _now(runtime.clock))
        if why_not is None:
            if journal.torn_tail:
                runtime.progress.say(
                    f"reconcile {newest.name}: its last journal entry is incomplete and ignored"
                )
            runtime.progress.say(f"resuming reconcile {newest.name}, which was interrupted")
            session = Session(newest, journal, _names(unfinished[:-1]), runtime.clock)
            session.note(Kind.RESUMED)
            return session
        journal.close()
        runtime.progress.say(
            f"reconcile {newest.name} was not finished and is not resumed: {why_not}"
        )
    ordinal = int(folders[-1].name) + 1 if folders else 1
    folder = run.reconciles.child(reconcile_name(ordinal))
    folder.make()
    session = Session(folder, JournalFile(folder), _names(unfinished), runtime.clock)
    session.note(Kind.OPENED, format=JOURNAL_FORMAT, inputs=inputs)
    return session


def _open_journal(folder: WorkFolder) -> JournalFile:
    try:
        return JournalFile(folder)
    except ArtefactDamagedError as error:
        raise ArtefactDamagedError(
            str(error),
            remedy=_REMEDY,
        ) from error


def _fold(journal: JournalFile) -> SessionState:
    try:
        return fold_session(journal.entries)
    except (ValueError, KeyError) as error:
        journal.close()
        raise damaged(str(journal.file), str(error)) from error


def _names(folders: list[WorkFolder]) -> tuple[str, ...]:
    return tuple(folder.name for folder in folders)


def _now(clock: Clock) -> Moment:
    return Moment(round(clock.wall_s(), 3), round(clock.monotonic_s(), 3))
