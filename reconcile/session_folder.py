"""One reconcile on disk: its journal and its id files, so that a killed one can go on.

`reconcile/<n>/` is a finished attempt when it holds report.json, which is written last. Without
it, it is unfinished: taken up again, or left as it is and named as abandoned.
"""

from collections.abc import Iterable
from pathlib import Path

from migrate.errors import ArtefactDamagedError
from migrate.model.sealed_json import damaged
from migrate.model.stamps import iso_stamp
from migrate.ports import Clock
from migrate.run.drift_report import REPORT, IdSums
from migrate.run.folder import RECONCILE, RunFolder
from migrate.runtime import Runtime
from migrate.storage.durable import file_sha256, folder_names, is_file, make_folder
from migrate.storage.id_files import read_checked_ids, write_ids
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import JOURNAL, JOURNAL_FORMAT, Entry
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
        self, path: Path, journal: JournalFile, abandoned: tuple[str, ...], clock: Clock
    ) -> None:
        self.path = path
        self.abandoned = abandoned  # names of unfinished attempts that are left as they are
        self._journal = journal
        self._clock = clock
        self._state = fold_attempt(journal.entries)
        self._sums: IdSums = {}

    @property
    def ordinal(self) -> int:
        """The number of the reconcile within the run, from 1."""
        return int(self.path.name)

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
            count = write_ids(self.id_file(name), ids)
            self._sums[name] = count, file_sha256(self.id_file(name))[1]
        return {name: list(self._sums[name]) for name in classes}

    def read_class(self, entry: Entry, name: str) -> list[str]:
        """The ids of a class that an entry names. Raises ArtefactDamagedError for other bytes."""
        path = self.id_file(name)
        files = entry.get("files")
        assert isinstance(files, dict), "written by `write_classes`"
        self._sums[name] = count, sha256 = files[name]
        return read_checked_ids(path, count, sha256, remedy=_REMEDY)

    def sums(self, names: Iterable[str]) -> IdSums:
        """Number of ids and SHA-256 of these classes' files, which this process wrote or read."""
        return {name: self._sums[name] for name in names}

    def id_file(self, name: str) -> Path:
        """The file of a class of drift."""
        return self.path / f"{name}.ids"

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()


def open_attempt(run_: RunFolder, inputs: str, runtime: Runtime, *, fresh: bool) -> Attempt:
    """Take up the newest attempt if it is unfinished and still says something; else a new one.

    `inputs` is the digest of what is compared, and how. `fresh` looks at no former attempt.
    Raises ArtefactDamagedError when the journal to go on with is damaged.
    """
    numbers = sorted(int(name) for name in folder_names(run_.path / RECONCILE) if name.isdigit())
    folders = [run_.path / RECONCILE / f"{number:03d}" for number in numbers]
    unfinished = [path for path in folders if not is_file(path / REPORT)]
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
    path = run_.path / RECONCILE / f"{ordinal:03d}"
    make_folder(path)
    attempt = Attempt(path, JournalFile(path / JOURNAL), _names(unfinished), runtime.clock)
    attempt.note(Kind.OPENED, format=JOURNAL_FORMAT, inputs=inputs)
    return attempt


def _open_journal(path: Path) -> JournalFile:
    try:
        return JournalFile(path / JOURNAL)
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
        raise damaged(str(journal.path), str(error)) from error


def _names(folders: list[Path]) -> tuple[str, ...]:
    return tuple(path.name for path in folders)


def _now(clock: Clock) -> Moment:
    return Moment(round(clock.wall_s(), 3), round(clock.monotonic_s(), 3))
