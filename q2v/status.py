"""`q2v status`: where a run stands, and the exact next command."""

from pathlib import Path
from typing import get_args

import click

from migrate.adapters.bounded import read_json_object
from migrate.adapters.run_folder import RECONCILE, REPORT_BYTES_MAX, RunFolder
from migrate.adapters.snapshot_folder import sealed_folders, unsealed_folders
from migrate.core.journal import RunState, Store
from migrate.core.manifest import damaged
from migrate.errors import UsageError
from q2v import wiring
from q2v.options import folder_option, json_option, settings_options
from q2v.render import Cell, render
from q2v.settings import Settings
from q2v.steps.find import find_run
from reconcile.report import Verdict


@click.command("status")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@folder_option
@json_option
@settings_options()
def command(*, run: Path | None, folder: Path, as_json: bool, settings: Settings) -> None:
    """Say where RUN (default: the newest) stands. Reads files only; asks no store."""
    key = wiring.seal_key(settings)
    try:
        opened = find_run(folder, run, key)
    except UsageError:
        if run is not None:
            raise
        _show_without_run(folder, as_json=as_json)
        return
    state = opened.state()
    verdict = _newest_verdict(opened)
    pending = opened.plan.vectors - (
        state.rounds[0].acknowledged(Store.VECTORS) if state.rounds else 0
    )
    document: dict[str, object] = {
        "run_id": opened.plan.run_id,
        "path": str(opened.path),
        "snapshot_id": opened.plan.snapshot_id,
        "phase": state.phase,
        "points": opened.plan.points,
        "pending": pending,
        "acknowledged": opened.plan.vectors - pending,
        "quarantined": opened.plan.quarantined,
        "in_doubt": _in_doubt(state),
        "verdict": verdict,
        "next": _next(state, verdict),
    }
    cells: list[tuple[str, Cell]] = [
        ("run", opened.plan.run_id),
        ("path", str(opened.path)),
        ("phase", state.phase),
        ("points", opened.plan.points),
        ("pending", pending),
        ("acknowledged", opened.plan.vectors - pending),
        ("quarantined", sum(opened.plan.quarantined.values())),
        ("uploads in doubt", _in_doubt(state)),
        ("newest verdict", verdict),
    ]
    render(document, cells, as_json=as_json, notes=["", f"next: {document['next']}"])
    opened.close()


def _show_without_run(folder: Path, *, as_json: bool) -> None:
    """Before the first run: is there a snapshot?"""
    sealed, unsealed = sealed_folders(folder), unsealed_folders(folder)
    following = "q2v migrate" if sealed else "q2v snapshot"
    newest = str((sealed or unsealed)[-1]) if sealed or unsealed else None
    phase = "sealed" if sealed else "snapshot begun" if unsealed else "nothing yet"
    render(
        {"run_id": None, "snapshot": newest, "phase": phase, "next": following},
        [("snapshot", newest), ("phase", phase)],
        as_json=as_json,
        notes=["", f"next: {following}"],
    )


def _in_doubt(state: RunState) -> int:
    return sum(
        not batch.acknowledged
        for round_ in state.rounds
        for batches in round_.batches.values()
        for batch in batches
    )


def _newest_verdict(run: RunFolder) -> str | None:
    reports = sorted((run.path / RECONCILE).glob("[0-9]*/report.json"))
    if not reports:
        return None
    verdict = read_json_object(reports[-1], bytes_max=REPORT_BYTES_MAX).get("verdict")
    if verdict not in get_args(Verdict):
        raise damaged(str(reports[-1]), "it holds no verdict")
    return str(verdict)


def _next(state: RunState, verdict: str | None) -> str:
    if state.rollback_opened:
        return "q2v migrate" if state.rollback_completed else "q2v rollback --execute"
    if not state.completed:
        return "q2v migrate"
    following = {
        None: "q2v reconcile",
        "equal": "the cutover is your decision (RUNBOOK: cutover)",
        "drift": "q2v migrate, then q2v reconcile",
        "indeterminate": "q2v reconcile",
    }
    return following[verdict]
