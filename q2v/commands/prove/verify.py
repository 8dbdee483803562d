"""`q2v verify`: check a snapshot or an archive against its own digests."""

import sys
from pathlib import Path

import click

from migrate.archive.verify import VerifiedArchive, verify_archive
from migrate.run.choose.find import find_snapshot
from migrate.run.folder import check_plans
from migrate.snapshot.manifest import LaterRecord, name_scope
from migrate.snapshot.sealed.verify import verify_points
from q2v import wiring
from q2v.invocation import Place
from q2v.options import RUN, folder_option, json_option, takes
from q2v.output.following import following_snapshot
from q2v.output.progress import open_progress
from q2v.output.render import format_bytes, render
from q2v.output.route import UNREAD_VECTORS
from q2v.settings import Settings


@takes(*RUN)
@click.command("verify")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@folder_option
@json_option
def command(*, path: Path | None, folder: Place, as_json: bool, settings: Settings) -> None:
    """Check the snapshot at PATH (default: the newest): manifest, bytes, and every point's digest.

    The plans of its runs are checked too; with snapshot.hmac_key all of these have to fit the key.
    PATH may be an archive of `q2v archive`: it is checked whole, and nothing else is needed.

    Reads files only; asks no store.
    """
    clock = wiring.system_clock()
    key = wiring.seal_key(settings)
    directory = wiring.open_folder(folder)
    archive = wiring.open_named_file(directory, path)
    if archive is not None:
        with open_progress(sys.stderr, clock) as progress:
            checked = verify_archive(archive, key, progress)
        _show_archive(str(archive), checked, hmac_checked=key is not None, as_json=as_json)
        return
    named = wiring.open_named(directory, path)
    snapshot = find_snapshot(directory, named, key, accepts_later=True)
    with open_progress(sys.stderr, clock) as progress:
        size = verify_points(snapshot, progress)
    plans = check_plans(snapshot)
    unknown = snapshot.unknown_files()
    manifest, later = snapshot.manifest, snapshot.manifest.later
    parts = sum(len(link.manifest.parts) for link in snapshot.chain)
    # An export of later writes is no step of a move.
    following = following_snapshot(snapshot, settings) if later is None else None
    render(
        {
            "snapshot_id": manifest.snapshot_id,
            "path": str(snapshot.folder),
            "verified": True,
            "points": manifest.points,
            "unreadable": len(manifest.unreadable),
            "parts": parts,
            "bytes": size,
            "set_digest": manifest.set_digest,
            "content_root": manifest.content_root,
            "plans": plans,
            "payload_only": manifest.payload_only,
            **({} if manifest.filter is None else {"filter": manifest.filter}),
            "hmac_checked": key is not None,
            "unknown_files": unknown,
            **({} if later is None else {"later": later_document(later)}),
            **({} if following is None else following.document()),
        },
        [
            ("snapshot", manifest.snapshot_id),
            ("verdict", "every byte and every digest is as it was sealed"),
            *([] if later is None else [("later writes of run", later.run_id)]),
            ("points", manifest.points),
            *([] if manifest.filter is None else [("filter", name_scope(manifest.filter))]),
            ("left out as unreadable", len(manifest.unreadable)),
            ("parts", f"{parts} ({format_bytes(size)})"),
            ("content root", manifest.content_root),
            *([("vectors", UNREAD_VECTORS)] if manifest.payload_only else []),
            ("plans", plans),
            ("HMAC", _hmac(checked=key is not None)),
        ],
        as_json=as_json,
        notes=[
            *(f"warning: {name} is not part of the snapshot and is ignored" for name in unknown),
            *([] if following is None else following.notes()),
        ],
    )


def _show_archive(
    path: str, checked: VerifiedArchive, *, hmac_checked: bool, as_json: bool
) -> None:
    record = checked.record
    render(
        {
            "archive": path,
            "verified": True,
            "bytes": checked.bytes,
            "sha256": checked.sha256,
            "snapshot_id": record.snapshot_id,
            "run_id": record.run_id,
            "chain": [link.snapshot_id for link in record.chain],
            "points": record.chain[-1].points,
            "content_root": record.chain[-1].content_root,
            "files": len(record.files),
            "plans": checked.runs,
            "final": record.final,
            "why_not_final": record.why_not_final,
            "hmac_checked": hmac_checked,
        },
        [
            ("archive", path),
            ("size", format_bytes(checked.bytes)),
            ("sha256", checked.sha256),
            ("snapshot", record.snapshot_id),
            ("run", record.run_id),
            ("points", record.chain[-1].points),
            ("content root", record.chain[-1].content_root),
            ("files", len(record.files)),
            ("plans", checked.runs),
            ("final", "yes" if record.final else f"no: {record.why_not_final}"),
            ("HMAC", _hmac(checked=hmac_checked)),
            ("verdict", "every byte and every digest is as it was archived"),
        ],
        as_json=as_json,
    )


def _hmac(*, checked: bool) -> str:
    return "fits the key" if checked else "not checked: no snapshot.hmac_key"


def later_document(later: LaterRecord) -> dict[str, object]:
    """What an export of later writes holds, for JSON."""
    return {
        "run_id": later.run_id,
        "added": later.added,
        "changed": later.changed,
        "deleted": later.deleted,
        "kv_entries": later.kv_entries,
        "returns": later.returns,
        "why_not": later.why_not or None,
    }
