"""Write what came of a fleet beside its journal: report.json, and report.html for people."""

from typing import Any

from migrate.model.canonical import encode_canonical_json
from migrate.storage.local_folder import LocalFolder
from q2v.fleet.model import Fleet
from q2v.fleet.report import FLEET_PAGE, FLEET_REPORT
from reconcile.page import render_fleet


def write_report(fleet: Fleet, report: dict[str, Any]) -> None:
    """Both files, the page first. Raises LocalStorageError."""
    folder = LocalFolder(fleet.directory)
    folder.file(FLEET_PAGE).write(render_fleet(report).encode())
    folder.file(FLEET_REPORT).write(encode_canonical_json(report) + b"\n")
