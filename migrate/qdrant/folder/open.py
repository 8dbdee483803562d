"""Open what `source.path` names: an embedded store, a server's folder or a server's snapshot."""

from collections.abc import Callable
from pathlib import Path

from migrate.ports import PointSource
from migrate.qdrant.folder.server_snapshot.source import SnapshotFileSource
from migrate.qdrant.folder.source import EdgeSource
from migrate.storage.disk import disk


def open_stored_source(
    path: Path, *, collection: str, copies: Path, say: Callable[[str], None]
) -> PointSource:
    """The source at a path, chosen by what lies there, which `say` reports.

    `copies` is the folder for copies of the store, or for what is unpacked. Raises as the sources.
    """
    reader = SnapshotFileSource if disk().is_file(path) else EdgeSource
    source = reader(path, collection=collection, copies=copies, say=say)
    say(f"{path} is {source.kind()}")
    return source
