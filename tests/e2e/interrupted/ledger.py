"""What must hold between two looks at the runs of a --dir, however their processes ended."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.harness.journal_files import (
    Entry,
    acknowledged_uploads,
    decode_entries,
    upload_intents,
)

KV_WRITES = 2  # of a run: the file index in one bulk write, and the counter


class Ledger:
    """Keeps every journal as it was last seen, and how much of the sandbox's log was known."""

    def __init__(self, *, kv_writes_max: int = KV_WRITES) -> None:
        """`kv_writes_max` is for a target that leaves keys out: those are sent again."""
        self._kv_writes_max = kv_writes_max
        self._journals: dict[Path, list[bytes]] = {}
        self._requests = 0
        self._sent: dict[Path, Counter[str]] = {}  # uploads by digest
        self.kills: Counter[Path] = Counter()

    @property
    def uploads(self) -> int:
        """Uploads that the sandbox has received, repeats included."""
        return sum(sent.total() for sent in self._sent.values())

    @property
    def acknowledged(self) -> int:
        """Uploads that the journals hold acks for."""
        return sum(len(acknowledged_uploads(lines)) for lines in self._journals.values())

    @property
    def repeats(self) -> int:
        """Uploads that it had received before, in the same run."""
        return sum(sent.total() - len(sent) for sent in self._sent.values())

    def look(
        self, run: Path, journal: bytes, requests: Sequence[Entry], *, migrating: bool
    ) -> None:
        """Take in a run's journal and the log after a process ended.

        Raises AssertionError when the journal did not grow from what it was (I2), when something
        that it said was acknowledged came again (I3), or when more came twice than kills explain.
        """
        lines = journal[: journal.rfind(b"\n") + 1].split(b"\n")[:-1]
        before = self._journals.get(run, [])
        assert lines[: len(before)] == before, f"I2: {run.name}: the journal has another beginning"
        new = requests[self._requests :]
        digests = [one["body_sha256"] for one in new if one["path"].endswith("/upsert")]
        again = acknowledged_uploads(before) & set(digests)
        assert not again, f"I3: {run.name}: acknowledged uploads came again: {again}"
        if migrating:
            written = sum(one["path"].endswith("/bulk") and one["method"] == "PUT" for one in new)
            # What a kill left in doubt may have been on its way still at the last look.
            left = self._kv_writes_max - _kv(before, "ack")
            in_doubt = _kv(before, "intent") - _kv(before, "ack")
            assert written <= left + in_doubt, "I3: acknowledged KV writes came again"
        intents = set(upload_intents(lines).values())
        sent = self._sent.setdefault(run, Counter())
        sent.update(digest for digest in digests if digest in intents)
        repeats = sent.total() - len(sent)
        assert repeats <= self.kills[run], f"{run.name}: {repeats} repeats, {self.kills[run]} kills"
        self._journals[run], self._requests = lines, len(requests)


def _kv(lines: Sequence[bytes], kind: str) -> int:
    """Entries of this kind about KV writes, the counter's included."""
    entries = decode_entries(lines)
    return sum(entry["type"] == kind and entry["store"] != "vectors" for entry in entries)
