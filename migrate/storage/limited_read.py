"""Read a file whole, but never more of it than it can honestly be."""

import io
from pathlib import Path

from migrate.model.canonical import decode_json
from migrate.model.sealed_json import damaged
from migrate.storage.disk import disk
from migrate.storage.durable import local_io


def read_bounded(path: Path, *, bytes_max: int) -> bytes:
    """The content of a file of at most `bytes_max` bytes.

    Raises ArtefactDamagedError for a larger one, before its content is in memory.
    """
    with local_io("reading", path), disk().open_to_read(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        content = file.read(bytes_max + 1) if size <= bytes_max else None
    if content is None or len(content) > bytes_max:
        raise damaged(str(path), f"larger than {bytes_max:,} B, which no such file of ours is")
    return content


def read_json_object(path: Path, *, bytes_max: int) -> dict[str, object]:
    """The JSON object in a file of at most `bytes_max` bytes.

    Raises ArtefactDamagedError for anything else: no JSON, endless nesting, endless digits.
    """
    try:
        value = decode_json(read_bounded(path, bytes_max=bytes_max))
    except ValueError as error:
        raise damaged(str(path), "it is no JSON") from error
    if not isinstance(value, dict):
        raise damaged(str(path), "it is no JSON object")
    return value
