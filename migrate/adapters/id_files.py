"""Files of ids, one per line, that no id can break or fake."""

import json
from collections.abc import Iterable
from pathlib import Path

from migrate.adapters.durable import durable_file, read_file
from migrate.core.canonical import decode_json
from migrate.errors import UsageError


def encode_id(text: str) -> str:
    """The id as one line: as it is, or as a JSON string where it could be misread.

    Ids that hold control characters, or start with a quote, would break or fake a line. The JSON
    string is plain ASCII: some separators and control characters are legal inside JSON text.
    """
    if text.isprintable() and not text.startswith('"') and text.strip() == text and text:
        return text
    return json.dumps(text)


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write the lines durably; returns their number."""
    count = 0
    with durable_file(path) as file:
        for line in lines:
            file.write(line.encode() + b"\n")
            count += 1
    return count


def write_ids(path: Path, ids: Iterable[str]) -> int:
    """Write one id per line, durably; returns their number."""
    return write_lines(path, map(encode_id, ids))


def read_ids(path: Path) -> list[str]:
    """The inverse of `write_ids`. Raises UsageError for a line that is no id and no JSON string."""
    lines = read_file(path).decode(errors="replace").split("\n")
    return [_decode_id(line, path) for line in lines if line]


def _decode_id(line: str, path: Path) -> str:
    if not line.startswith('"'):
        return line
    try:
        text = decode_json(line.encode())
    except ValueError:
        text = None
    if not isinstance(text, str):
        raise UsageError(
            f"{path}: found {line[:80]!r}, expected an id or a JSON string",
            remedy="write one id per line, as in the id files of a report",
        )
    return text
