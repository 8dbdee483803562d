"""Journals and logs as files that another process appends to, read without the tool's code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
JOURNAL = "journal.jsonl"


class GrowingLines:
    """The whole lines of a file, read as they come; a torn last line is not there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[bytes] = []
        self._read_bytes = 0

    def refreshed(self) -> list[bytes]:
        """Every line so far, without newlines; a file that is not there yet has none."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read_bytes)
                content = file.read()
        except FileNotFoundError:
            return self._lines
        whole = content[: content.rfind(b"\n") + 1]
        self._lines += whole.split(b"\n")[:-1]
        self._read_bytes += len(whole)
        return self._lines


def newest_run(directory: Path) -> Path | None:
    """The folder of the newest run below --dir that has a plan."""
    plans = sorted(directory.glob("*/runs/*/plan.json"))
    return plans[-1].parent if plans else None


def newest_journal(directory: Path) -> list[bytes]:
    """The whole lines of the newest run's journal, without newlines; empty without a run."""
    run = newest_run(directory)
    return [] if run is None else GrowingLines(run / JOURNAL).refreshed()


def decode_entries(lines: Sequence[bytes]) -> list[Entry]:
    """The entries of these lines; their chain is not checked."""
    return [json.loads(line) for line in lines]


def upload_intents(lines: Sequence[bytes]) -> dict[tuple[int, int], str]:
    """(Round, batch) -> SHA-256 of the body, of every upload with an intent."""
    return {
        (entry["round"], entry["batch"]): entry["sha256"]
        for entry in decode_entries(lines)
        if entry["type"] == "intent" and entry["store"] == "vectors"
    }


def acknowledged_uploads(lines: Sequence[bytes]) -> set[str]:
    """SHA-256 of the bodies of the uploads that a journal holds acks for."""
    intents = upload_intents(lines)
    return {
        intents[entry["round"], entry["batch"]]
        for entry in decode_entries(lines)
        if entry["type"] == "ack" and entry["store"] == "vectors"
    }
