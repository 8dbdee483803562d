"""Check a sealed snapshot, or a chain of them, against its own digests. Reads files only."""

from migrate.model.digest import SetDigest, digest_points
from migrate.model.irregular import is_unreadable
from migrate.model.sealed_json import damaged
from migrate.ports import Progress
from migrate.snapshot.folder import Snapshot


def verify_points(snapshot: Snapshot, progress: Progress) -> int:
    """Read every point of the whole, compute its digest again, and return the bytes of all parts.

    Of a difference this covers the snapshots before it as well, but for points that it replaces.
    Raises ArtefactDamagedError for a part, a point or a set digest that is not as it was sealed.
    """
    names = [spec.name for spec in snapshot.manifest.vectors]
    progress.start("verifying points", total=snapshot.manifest.points, unit="points")
    whole = SetDigest()
    unreadable: list[str] = []
    for rows in snapshot.read(with_vectors=names):
        digests = digest_points(rows.page)
        if tuple(digests) != rows.digests:
            bad = next(
                one
                for one, digest, kept in zip(rows.page.ids, digests, rows.digests, strict=True)
                if digest != kept
            )
            raise damaged(str(snapshot.folder), f"point {bad.text} does not match its digest")
        whole.add(b"".join(digests))
        unreadable += [
            point_id.text
            for point_id, irregular in zip(rows.page.ids, rows.page.irregular, strict=True)
            if is_unreadable(irregular)
        ]
        progress.advance(len(rows.page))
    if whole.hexdigest() != snapshot.manifest.set_digest:
        raise damaged(str(snapshot.folder), "the set digest is not that of the manifest")
    if tuple(unreadable) != snapshot.manifest.unreadable:
        raise damaged(
            str(snapshot.folder),
            f"{len(unreadable)} points are marked as unreadable, the manifest names "
            f"{len(snapshot.manifest.unreadable)}",
        )
    return sum(part.bytes for part in snapshot.manifest.parts)
