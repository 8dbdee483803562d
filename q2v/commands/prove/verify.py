"""`q2v verify`: check a snapshot against its own digests."""

import sys
from pathlib import Path

import click

from migrate.model.digest import SetDigest, digest_points
from migrate.model.irregular import is_unreadable
from migrate.model.sealed_json import damaged
from migrate.ports import Progress
from migrate.run.choose import find_snapshot
from migrate.run.folder import check_plans
from migrate.snapshot.folder import Snapshot
from q2v import wiring
from q2v.options import SEAL, folder_option, json_option, takes
from q2v.output.following import following_snapshot
from q2v.output.progress import open_progress
from q2v.output.render import format_bytes, render
from q2v.settings import Settings


@takes(SEAL)
@click.command("verify")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@folder_option
@json_option
def command(*, path: Path | None, folder: Path, as_json: bool, settings: Settings) -> None:
    """Check the snapshot at PATH (default: the newest): manifest, bytes, and every point's digest.

    The plans of its runs are checked too; with snapshot.hmac_key all of these have to fit the key.

    Reads files only; asks no store.
    """
    clock = wiring.system_clock()
    key = wiring.seal_key(settings)
    directory = wiring.open_folder(folder)
    snapshot = find_snapshot(directory, wiring.open_named(directory, path), key)
    with open_progress(sys.stderr, clock) as progress:
        size = _verify_points(snapshot, progress)
    plans = check_plans(snapshot)
    unknown = snapshot.unknown_files()
    manifest = snapshot.manifest
    following = following_snapshot(snapshot, settings)
    render(
        {
            "snapshot_id": manifest.snapshot_id,
            "path": str(snapshot.folder),
            "verified": True,
            "points": manifest.points,
            "unreadable": len(manifest.unreadable),
            "parts": len(manifest.parts),
            "bytes": size,
            "set_digest": manifest.set_digest,
            "content_root": manifest.content_root,
            "plans": plans,
            "hmac_checked": key is not None,
            "unknown_files": unknown,
            **following.document(),
        },
        [
            ("snapshot", manifest.snapshot_id),
            ("points", manifest.points),
            ("left out as unreadable", len(manifest.unreadable)),
            ("parts", f"{len(manifest.parts)} ({format_bytes(size)})"),
            ("content root", manifest.content_root),
            ("plans", plans),
            ("HMAC", "fits the key" if key is not None else "not checked: no snapshot.hmac_key"),
            ("verdict", "every byte and every digest is as it was sealed"),
        ],
        as_json=as_json,
        notes=[
            *(f"warning: {name} is not part of the snapshot and is ignored" for name in unknown),
            *following.notes(),
        ],
    )


def _verify_points(snapshot: Snapshot, progress: Progress) -> int:
    """Read every point back and compute its digest again; returns the bytes of the parts."""
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
