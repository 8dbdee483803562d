"""A server's snapshot files, packed from its folder as the server's source packs them.

The folder is written by the embedded engine. In a REGULAR snapshot (what a server stores) each
segment is an archive of its own; in a STREAMABLE one (what a server sends without storing it) the
segments are folders.
"""

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from migrate.qdrant.folder.server_snapshot.unpack import SegmentForm

Members = dict[str, bytes]  # path -> the member of the archive, header and content
NOT_PACKED = "resharding_state.json"
HOLE_BYTES = 65_536  # zeros at the end of a file that are stored as a hole


def snapshot_members(collection: Path, form: SegmentForm = SegmentForm.REGULAR) -> Members:
    """The members of the snapshot of a server's folder of a collection."""
    members: Members = {}
    segments: dict[str, dict[str, bytes]] = {}
    for path in sorted(path for path in collection.rglob("*") if path.is_file()):
        place = path.relative_to(collection)
        match place.parts:
            case (shard, "segments", segment, *rest):
                inner = segments.setdefault(f"{shard}/segments/{segment}", {})
                inner[f"{form}/{'/'.join(rest)}"] = path.read_bytes()
            case _ if place.name != NOT_PACKED:
                members[str(place)] = member(str(place), path.read_bytes())
    for segment, inner in segments.items():
        if form is SegmentForm.REGULAR:
            members[f"{segment}.tar"] = member(f"{segment}.tar", pack(inner))
        else:
            found = {f"{segment}/{name}": content for name, content in inner.items()}
            members |= {path: member(path, content) for path, content in found.items()}
    return members


def write_snapshot(members: Members, target: Path) -> Path:
    """The snapshot file with these members."""
    target.write_bytes(b"".join(members.values()) + bytes(1024))
    return target


def write_full_snapshot(
    snapshots: Mapping[str, Path], target: Path, mapping: Mapping[str, str] | None = None
) -> Path:
    """The snapshot of a storage with these collections; `mapping` in place of the true one."""
    files = {path.name: path.read_bytes() for path in snapshots.values()}
    true = {name: path.name for name, path in snapshots.items()}
    described = {"collections_mapping": mapping or true, "collections_aliases": {}}
    target.write_bytes(pack({**files, "config.json": json.dumps(described).encode()}))
    return target


def pack(members: Mapping[str, bytes], end: bytes = bytes(1024)) -> bytes:
    """A tar archive of these files."""
    return b"".join(member(path, content) for path, content in members.items()) + end


def member(path: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """One member of a tar archive."""
    info = tarfile.TarInfo(path)
    info.type, info.linkname, info.size = kind, link, len(content)
    zeros = _zeros_at_end(content)
    if zeros >= HOLE_BYTES:
        return _sparse(info, content[:-zeros], len(content))
    return info.tobuf(tarfile.GNU_FORMAT) + _padded(content)


def _zeros_at_end(content: bytes) -> int:
    """How many. Most of 32 MB may be zeros, so they are compared by the piece."""
    end, piece = len(content), bytes(HOLE_BYTES)
    while content.endswith(piece, 0, end):
        end -= len(piece)
    last = content[max(0, end - len(piece)) : end]
    return len(content) - end + len(last) - len(last.rstrip(b"\0"))


def _sparse(info: tarfile.TarInfo, stored: bytes, size: int) -> bytes:
    """A file with a hole at its end, as the library of the server writes it."""
    info.type, info.size = tarfile.GNUTYPE_SPARSE, len(stored)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    fields = header[-tarfile.BLOCKSIZE :]
    for position, number in ((386, 0), (398, len(stored)), (483, size)):
        fields[position : position + 12] = f"{number:011o}\0".encode()
    fields[148:156] = b" " * 8
    fields[148:156] = f"{sum(fields):06o}\0 ".encode()
    header[-tarfile.BLOCKSIZE :] = fields
    return bytes(header) + _padded(stored)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)
