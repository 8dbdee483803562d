"""The id files of a report: one file per class of drift, one id per line, and one combined."""

import json
from collections.abc import Iterable
from pathlib import Path

from migrate.adapters.durable import durable_file
from reconcile.diff import DriftKind


def encode_id(text: str) -> str:
    """The id as one line: as it is, or as a JSON string where it could be misread.

    Ids that hold control characters, or start with a quote, would break or fake a line. The JSON
    string is plain ASCII: some separators and control characters are legal inside JSON text.
    """
    if text.isprintable() and not text.startswith('"') and text.strip() == text and text:
        return text
    return json.dumps(text)


def write_ids(path: Path, ids: Iterable[str]) -> int:
    """Write one id per line, durably; returns their number."""
    count = 0
    with durable_file(path) as file:
        for text in ids:
            file.write(encode_id(text).encode() + b"\n")
            count += 1
    return count


def write_combined(path: Path, drift: Iterable[tuple[DriftKind, str]]) -> None:
    """Write `<symbol> <id>` lines as `rclone check --combined` does."""
    with durable_file(path) as file:
        for kind, text in drift:
            file.write(f"{kind.symbol} {encode_id(text)}\n".encode())
