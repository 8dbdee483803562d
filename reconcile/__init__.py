"""Compare the stores with what a run wrote, and undo the run; `migrate` shows a whole move."""

from typing import TYPE_CHECKING

from migrate.lazy_names import load_when_used

if TYPE_CHECKING:
    from reconcile.compare import compare as compare
    from reconcile.report.report import ReconcileReport as ReconcileReport
    from reconcile.rollback.later.export import LaterReport as LaterReport
    from reconcile.rollback.later.export import export_later_writes as export_later_writes
    from reconcile.rollback.manifest import build_manifest as build_manifest
    from reconcile.rollback.report import RollbackReport as RollbackReport
    from reconcile.rollback.report import UndoRules as UndoRules
    from reconcile.rollback.roll_back import preview_rollback as preview_rollback
    from reconcile.rollback.roll_back import roll_back as roll_back
    from reconcile.stores import ReconcileRules as ReconcileRules

PUBLIC_NAMES = {
    "compare": "reconcile.compare",
    "ReconcileRules": "reconcile.stores",
    "ReconcileReport": "reconcile.report.report",
    "build_manifest": "reconcile.rollback.manifest",
    "preview_rollback": "reconcile.rollback.roll_back",
    "roll_back": "reconcile.rollback.roll_back",
    "export_later_writes": "reconcile.rollback.later.export",
    "LaterReport": "reconcile.rollback.later.export",
    "UndoRules": "reconcile.rollback.report",
    "RollbackReport": "reconcile.rollback.report",
}
load_when_used(__name__, PUBLIC_NAMES)
