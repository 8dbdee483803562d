"""The folder of one reconcile: its journal and its id files, so that a killed one can go on.

`reconcile/<n>/` is a finished attempt when it holds report.json, which is written last. Without
it, it is unfinished: taken up again, or left as it is and named as abandoned.
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
    AttemptState,
    Kind,
    Look,
    Moment,
    apply_entry,
    fold_attempt,
    why_not_resumed,
)

_REMEDY = (
    "nothing of this unfinished reconcile is believed; find out what changed the file, then "
    "`q2v reconcile --fresh` reads everything again"
)


class Attempt:
    """An attempt that is being worked on. The caller holds the folder's lock."""

    def __init__(
        self, folder: WorkFolder, journal: JournalFile, abandoned: tuple[str, ...], clock: Clock
    ) -> None:
        self.folder = folder
        self.abandoned = abandoned  # names of unfinished attempts that are left as they are
        self._journal = journal
        self._clock = clock
        self._state = fold_attempt(journal.entries)
        self._sums: IdSums = {}

    @property
    def ordinal(self) -> int:
        """The number of the reconcile within the run, from 1."""
        return int(self.folder.name)

    @property
    def state(self) -> AttemptState:
        """What the journal says now."""
        return self._state

    @property
    def opened_at(self) -> str:
        """When the first of its reads began, RFC 3339."""
        assert self._state.opened_at is not None
        return iso_stamp(self._state.opened_at.wall_s)

    def look(self, ordinal: int) -> Look:
        """One look at the contents as far as it came; an empty one if it has not begun."""
        looks = self._state.looks
        return looks[ordinal] if ordinal < len(looks) else Look()

    def note(self, kind: Kind, **members: object) -> None:
        """Append one entry, stamped by both clocks; returns when it is durable."""
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

    def write_classes(self, classes: dict[str, Iterable[str]]) -> dict[str, list[object]]:
        """One durable id file per class; returns the `files` member of the entry that names them.

        The files hold every id, however many: a repair writes exactly what they name.
        """
        for name, ids in classes.items():
            self._sums[name] = write_ids(self.id_file(name), ids)
        return {name: list(self._sums[name]) for name in classes}

    def read_class(self, entry: Entry, name: str) -> list[str]:
        """The ids of a class that an entry names. Raises ArtefactDamagedError for other bytes."""
        files = entry.get("files")
        assert isinstance(files, dict), "written by `write_classes`"
        self._sums[name] = count, sha256 = files[name]
        return read_checked_ids(self.id_file(name), count, sha256, remedy=_REMEDY)

    def sums(self, names: Iterable[str]) -> IdSums:
        """Number of ids and SHA-256 of these classes' files, which this process wrote or read."""
        return {name: self._sums[name] for name in names}

    def id_file(self, name: str) -> StoredFile:
        """The file of a class of drift."""
        return self.folder.file(id_file_name(name))

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def open_attempt(run_: RunFolder, inputs: str, runtime: Runtime, *, fresh: bool) -> Attempt:
    """Take up the newest attempt if it is unfinished and still says something; else a new one.

    `inputs` is the digest of what is compared, and how. `fresh` looks at no former attempt.
    Raises ArtefactDamagedError when the journal to go on with is damaged.
    """
    numbers = sorted(int(name) for name in run_.reconciles.names() if name.isdigit())
    folders = [run_.reconciles.child(reconcile_name(number)) for number in numbers]
    unfinished = [folder for folder in folders if not folder.has_file(REPORT)]
    if not fresh and unfinished and unfinished[-1] == folders[-1]:
        newest = unfinished[-1]
        journal = _open_journal(newest)
        state = _fold(journal)
        why_not = why_not_resumed(state, inputs, _now(runtime.clock))
        if why_not is None:
            if journal.torn_tail:
                runtime.progress.say(
                    f"reconcile {newest.name}: its last entry was cut; it is dropped"
                )
            runtime.progress.say(f"going on with reconcile {newest.name}, which was interrupted")
            attempt = Attempt(newest, journal, _names(unfinished[:-1]), runtime.clock)
            attempt.note(Kind.RESUMED)
            return attempt
        journal.close()
        runtime.progress.say(
            f"reconcile {newest.name} was not finished and is left as it is: {why_not}"
        )
    ordinal = int(folders[-1].name) + 1 if folders else 1
    folder = run_.reconciles.child(reconcile_name(ordinal))
    folder.make()
    attempt = Attempt(folder, JournalFile(folder), _names(unfinished), runtime.clock)
    attempt.note(Kind.OPENED, format=JOURNAL_FORMAT, inputs=inputs)
    return attempt


def _open_journal(folder: WorkFolder) -> JournalFile:
    try:
        return JournalFile(folder)
    except ArtefactDamagedError as error:
        raise ArtefactDamagedError(
            str(error),
            remedy=_REMEDY,
        ) from error


def _fold(journal: JournalFile) -> AttemptState:
    try:
        return fold_attempt(journal.entries)
    except (ValueError, KeyError) as error:
        journal.close()
        raise damaged(str(journal.file), str(error)) from error


def _names(folders: list[WorkFolder]) -> tuple[str, ...]:
    return tuple(folder.name for folder in folders)


def _now(clock: Clock) -> Moment:
    return Moment(round(clock.wall_s(), 3), round(clock.monotonic_s(), 3))
