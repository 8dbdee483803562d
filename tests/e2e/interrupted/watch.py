"""Where a running q2v stands, seen from outside: by its run's journal and the sandbox's log."""

from collections.abc import Sequence
from enum import IntEnum

from tests.harness.journal_files import (
    JOURNAL,
    Entry,
    GrowingLines,
    decode_entries,
    newest_run,
)
from tests.harness.running.site import Site


class Phase(IntEnum):
    """What a process is doing, in the order in which it does it."""

    STARTING = 0
    PLANNING = 1
    PRE_IMAGES = 2
    UPLOADS = 3
    SETTLING = 4
    KV_INDEX = 5
    COUNTER = 6
    ENDING = 7
    ROLLBACK_STARTING = 10
    LATER_WRITES = 11
    UNDOING_KV = 12
    UNDOING_VECTORS = 13
    UNDO_SETTLING = 14
    ROLLBACK_ENDING = 15

    @property
    def command(self) -> str:
        """The command that has this phase."""
        return "migrate" if self <= Phase.ENDING else "rollback"

    @property
    def words(self) -> str:
        """As a report says it."""
        return self.name.lower().replace("_", " ")


class Watch:
    """Looks on while one process runs; made just before it starts."""

    def __init__(self, site: Site, command: str, *, uploads: int) -> None:
        self._site = site
        self._command = command
        self._uploads = uploads  # of a whole run
        self._requests_before = len(site.requests.refreshed())
        self._requests: list[Entry] = []
        self._journal: GrowingLines | None = None
        self._entries: list[Entry] = []
        self._entries_before = len(self.entries())

    def requests(self) -> list[Entry]:
        """What the sandbox has answered since."""
        lines = self._site.requests.refreshed()
        self._requests += decode_entries(lines[self._requests_before + len(self._requests) :])
        return self._requests

    def entries(self) -> list[Entry]:
        """The newest run's journal; empty while there is none."""
        run = newest_run(self._site.directory)
        if run is None:
            return []
        path = run / JOURNAL
        if self._journal is None or self._journal.path != path:
            self._journal, self._entries, self._entries_before = GrowingLines(path), [], 0
        lines = self._journal.refreshed()
        self._entries += decode_entries(lines[len(self._entries) :])
        return self._entries

    def phase(self, pid: int) -> Phase:
        """Where the process stands, or stood when it was killed."""
        entries = self.entries()
        started = f"pid {pid} " in self._holder()
        if self._command == "rollback":
            new = {entry["type"] for entry in entries[self._entries_before :]}
            return self._rollback_phase(new) if started else Phase.ROLLBACK_STARTING
        return _migrate_phase(entries, self._uploads) if started else Phase.STARTING

    def _holder(self) -> str:
        try:
            return (self._site.directory / ".lock").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _rollback_phase(self, new: set[str]) -> Phase:
        if "rollback_completed" in new:
            return Phase.ROLLBACK_ENDING
        if "rollback_opened" not in new:
            return Phase.LATER_WRITES
        paths = [request["path"] for request in self.requests()]
        if any(path.endswith("/info") for path in paths):
            return Phase.UNDO_SETTLING
        if any(path.endswith("/get_by_ids") for path in paths):
            return Phase.UNDOING_VECTORS
        return Phase.UNDOING_KV


def _migrate_phase(entries: Sequence[Entry], uploads: int) -> Phase:
    types = {entry["type"] for entry in entries}
    acknowledged = [entry["store"] for entry in entries if entry["type"] == "ack"]
    if not entries or "rollback_completed" in types:
        return Phase.PLANNING  # of a new run
    reached = [
        "pre_images_sealed" in types,
        acknowledged.count("vectors") == uploads,
        "vectors_processed" in types,
        "kv" in acknowledged,
        "round_completed" in types,
    ]
    return Phase(Phase.PRE_IMAGES + sum(reached))
