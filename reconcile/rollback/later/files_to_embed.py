"""Every file that the new side changed since the run, and what has to be done with it in Qdrant.

Written for a sync service: files-to-embed.txt names the files that it has to embed again, one id a
line; files-to-embed.json says of every changed file what became of which vectors.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.run.folder import RunFolder
from migrate.storage.id_files import write_ids
from migrate.storage.layout import FILES_TO_EMBED, FILES_TO_EMBED_JSON
from reconcile.rollback.later.index_file import LaterVector
from reconcile.rollback.later.points import DELETED

FILES_FORMAT = 1
EMBED, RESTORE, REMOVE = "embed", "restore", "remove"


@dataclass(slots=True)
class FileChange:
    """What became of the vectors of one file."""

    vectors: dict[str, list[str]] = field(default_factory=dict)  # added | changed | deleted -> ids
    points_to_remove: list[int | str] = field(default_factory=list)  # of the deleted vectors
    last_modified: object = None  # the greatest one of its vectors' metadata, if they have it

    def action(self, *, returns: bool) -> str:
        """What brings the collection up to date: `embed`, `restore` or `remove`."""
        if self.vectors.keys() == {DELETED}:
            return REMOVE
        return RESTORE if returns else EMBED


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesToEmbed:
    """The files that were written."""

    path: str  # files-to-embed.txt
    json_path: str
    files: int  # to be embedded again
    without_file: tuple[str, ...]  # vectors that would have to be, and of which no file is known


def group_by_file(vectors: Iterable[LaterVector]) -> dict[str | None, FileChange]:
    """File -> what became of its vectors; None: of vectors whose file is not known."""
    found: dict[str | None, FileChange] = {}
    for vector in vectors:
        change = found.setdefault(vector.file, FileChange())
        change.vectors.setdefault(vector.change, []).append(vector.vector_id)
        if vector.change == DELETED:
            change.points_to_remove.append(vector.point_id.wire)
        elif vector.last_modified is not None:
            time = decode_json(vector.last_modified.encode())
            change.last_modified = _later(change.last_modified, time)
    return found


def _later(one: object, other: object) -> object:
    """The greater of two times of one type; the second where they cannot be compared."""
    match one, other:
        case (str(), str()) | (int() | float(), int() | float()):
            return max(one, other)  # type: ignore[call-overload]  # both of one type
        case _:
            return other


def write_files_to_embed(
    run: RunFolder, export_id: str, vectors: Iterable[LaterVector], *, why: str
) -> FilesToEmbed:
    """Write both files below rollback/, durably, in place of those of an earlier export.

    `why`: why vectors that were added or changed do not return to Qdrant whole; "" when they do.
    """
    groups = group_by_file(vectors)
    unknown = groups.pop(None, FileChange())
    found = {file: change for file, change in groups.items() if file is not None}
    actions = {file: change.action(returns=not why) for file, change in found.items()}
    embed = sorted(file for file, action in actions.items() if action == EMBED)
    run.rollback.make()
    text, document = run.rollback.file(FILES_TO_EMBED), run.rollback.file(FILES_TO_EMBED_JSON)
    write_ids(text, embed)
    document.write(
        encode_canonical_json(
            {
                "format": FILES_FORMAT,
                "run_id": run.plan.run_id,
                "export": export_id,
                "why": why or None,
                "files": [
                    {"file_id": file, "action": actions[file], **_members(found[file])}
                    for file in sorted(found)
                ],
                "without_file": _members(unknown),
            }
        )
        + b"\n"
    )
    of_none = {name: ids for name, ids in unknown.vectors.items() if name != DELETED}
    lost = [one for ids in of_none.values() for one in ids] if why else []
    return FilesToEmbed(
        path=str(text), json_path=str(document), files=len(embed), without_file=tuple(lost)
    )


def _members(change: FileChange) -> dict[str, object]:
    return {
        **{name: change.vectors.get(name, []) for name in ("added", "changed", "deleted")},
        "points_to_remove": change.points_to_remove,
        "last_modified": change.last_modified,
    }
