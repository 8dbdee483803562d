"""Files of ids, one per line, encoded so that no id can be mistaken for several lines."""

import hashlib
import json
from collections.abc import Iterable

from migrate.errors import UsageError
from migrate.model.canonical import decode_json
from migrate.model.sealed_json import damaged
from migrate.storage.folder import StoredFile

ID_FILE_BYTES_MAX = 1024 * 1024 * 1024  # 15 million ids of 64 B
LINE_CHARACTERS_MAX = 1024 * 1024  # a payload's text may be an id, and escapes multiply it


def encode_id(text: str) -> str:
    """The id as one line: as it is, or as a JSON string where it could be misread.

    Ids that hold control characters, or start with a quote, would break or fake a line. The JSON
    string is plain ASCII: some separators and control characters are legal inside JSON text.
    """
    if text.isprintable() and not text.startswith('"') and text.strip() == text and text:
        return text
    return json.dumps(text)


def write_lines(file: StoredFile, lines: Iterable[str]) -> tuple[int, str]:
    """Write the lines durably; returns their number and the SHA-256 of the file."""
    count = 0
    with file.open_to_write() as out:
        for line in lines:
            out.write(line.encode() + b"\n")
            count += 1
    return count, out.sha256


def write_ids(file: StoredFile, ids: Iterable[str]) -> tuple[int, str]:
    """Write one id per line, durably; returns their number and the SHA-256 of the file."""
    return write_lines(file, map(encode_id, ids))


def read_ids(file: StoredFile) -> list[str]:
    """The inverse of `write_ids`. Raises UsageError for a line that is no id and no JSON string."""
    return _decode_ids(file.read(bytes_max=ID_FILE_BYTES_MAX), file)


def read_first_ids(file: StoredFile, count: int) -> list[str]:
    """The first `count` ids, without reading the others; none where there is no file."""
    if not file.is_there():
        return []
    with file.open_to_read() as opened:
        lines = [opened.readline(LINE_CHARACTERS_MAX) for _ in range(count)]
    return _decode_ids(b"".join(lines), file)


def read_typed_ids(file: StoredFile) -> list[str]:
    """The ids of a file that an operator wrote: also with blanks around them, as editors leave.

    An id that has such characters itself stands there as a JSON string. Raises as `read_ids`, and
    UsageError for a file that is not UTF-8: what it names would be found nowhere.
    """
    try:
        text = file.read(bytes_max=ID_FILE_BYTES_MAX).decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file}: found bytes that are no UTF-8 (from byte {error.start} on), expected one id "
            "per line",
            remedy="save the file as UTF-8 (`>` of PowerShell writes UTF-16)",
        ) from error
    lines = (line.strip("\ufeff \t\r") for line in text.split("\n"))
    return [_decode_id(line, file) for line in lines if line]


def read_checked_ids(file: StoredFile, count: int, sha256: str, *, remedy: str) -> list[str]:
    """The ids of an id file, hashed before they are decoded.

    Raises ArtefactDamagedError when the file is missing, or is not the one with this sum.
    """
    if not file.is_there():
        raise damaged(str(file), "the file is missing", remedy=remedy)
    content = file.read(bytes_max=ID_FILE_BYTES_MAX)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise damaged(str(file), f"its sha256 is {found}, expected {sha256}", remedy=remedy)
    ids = _decode_ids(content, file)
    assert len(ids) == count, "the sum and the number were taken of the same file"
    return ids


def _decode_ids(content: bytes, file: StoredFile) -> list[str]:
    lines = content.decode(errors="replace").split("\n")
    return [_decode_id(line, file) for line in lines if line]


def _decode_id(line: str, file: StoredFile) -> str:
    if len(line) > LINE_CHARACTERS_MAX:
        raise UsageError(
            f"{file}: found a line of {len(line):,} characters, expected an id",
            remedy="write one id per line, as in the id files of a report",
        )
    if not line.startswith('"'):
        return line
    try:
        text = decode_json(line.encode())
    except ValueError:
        text = None
    if not isinstance(text, str):
        raise UsageError(
            f"{file}: found {line[:80]!r}, expected an id or a JSON string",
            remedy="write one id per line, as in the id files of a report",
        )
    return text
