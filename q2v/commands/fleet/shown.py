"""What `q2v fleet` prints: a row for each move, the sums, and the next command."""

import shlex
from collections.abc import Mapping
from typing import Any

from migrate.words import counted
from q2v.fleet.model import Fleet
from q2v.fleet.report import FLEET_PAGE, RUN, options_of
from q2v.fleet.schedule import Phase, Standing
from q2v.fleet.state import FleetState
from q2v.output.render import format_about, write_document, write_texts
from q2v.output.screen.table import TableRow, write_table

_MARKS = {
    Phase.DONE.value: "ok",
    Phase.STOPPED.value: "fail",
    Phase.TRIED.value: "fail",
    Phase.CHANGED.value: "decide",
    Phase.ROLLED_BACK.value: "undone",
    Phase.ROLLING_BACK.value: "fail",
    Phase.OVER.value: "fail",
    Phase.NOT_BEGUN.value: "skipped",
}
# What keeps such a move has to be mended; to run the fleet again changes nothing.
_HELD = frozenset({Phase.STOPPED.value, Phase.CHANGED.value, Phase.ROLLING_BACK.value})


def show_report(report: dict[str, Any], *, as_json: bool, has_page: bool = True) -> None:
    """What came of the moves, in the order of the file. `has_page`: report.html was written."""
    if as_json:
        write_document(report)
        return
    write_table([_report_row(row) for row in report["moves"]])
    counts = report["counts"]
    write_texts(
        [
            "",
            f"{counts['done']} of {counted(counts['moves'], 'move')} done{_undone(report)}"
            f"{_sums(report)}",
            *([f"page: {report['folder']}/{FLEET_PAGE}"] if has_page else []),
            *_following(report),
        ]
    )


def ended_in_words(fleet: Fleet, state: FleetState, found: Mapping[str, Standing]) -> str:
    """How far each move of a fleet is that was stopped."""
    groups: dict[str, list[str]] = {}
    for move in fleet.moves:
        standing = found[move.name]
        step = None if standing.step is None else standing.step.name
        if standing.phase in {Phase.DONE, Phase.ROLLED_BACK}:
            groups.setdefault(standing.phase.value, []).append(move.name)
        elif not any(one.tried for one in state.move(move.name).steps.values()):
            groups.setdefault("not begun", []).append(move.name)
        elif standing.is_final:
            groups.setdefault("failed", []).append(f"{move.name} at {step}")
        else:
            groups.setdefault("to be continued", []).append(f"{move.name} at {step}")
    return "; ".join(
        f"{counted(len(groups[name]), 'move')} {name}: {', '.join(groups[name])}"
        for name in ("done", "rolled back", "to be continued", "failed", "not begun")
        if name in groups
    )


def _undone(report: dict[str, Any]) -> str:
    undone = report["counts"][Phase.ROLLED_BACK]
    return f", {undone:,} rolled back" if undone else ""


def _sums(report: dict[str, Any]) -> str:
    """What was moved, where one of the steps moves."""
    if all(row["moved"] is None for row in report["moves"]):
        return ""
    sums = report["sums"]
    return (
        f": {counted(sums['moved'], 'vector')} moved, {sums['quarantined']:,} quarantined, "
        f"{counted(sums['requests'], 'request')}"
    )


def _report_row(row: dict[str, Any]) -> TableRow:
    phase = row["phase"]
    parts = [phase if not row["verdict"] else f"{phase}, {row['verdict']}"]
    if row["moved"] is not None and phase != Phase.ROLLED_BACK:
        parts.append(f"{row['moved']:,} of {counted(row['points'] or 0, 'point')} moved")
    if row["quarantined"]:
        parts.append(f"{row['quarantined']:,} quarantined")
    if row["worked_s"]:
        parts.append(format_about(row["worked_s"]))
    if row["why"] and (phase != Phase.DONE or not row["steps"]):
        parts.append(row["why"])
    advice = row["next"] if phase != Phase.DONE and row["next"] else ""
    return TableRow(
        mark=_MARKS.get(phase, "warn"), name=row["name"], text="; ".join(parts), advice=advice
    )


def _following(report: dict[str, Any]) -> list[str]:
    """The next command of the whole fleet."""
    undone = [row["name"] for row in report["moves"] if row["phase"] == Phase.ROLLED_BACK]
    if report["counts"]["done"] + len(undone) == report["counts"]["moves"]:
        return []  # the row of a move that is rolled back says how it is moved again
    command = shlex.join([*RUN, *(report["steps"] or []), *_options(report)])
    held = [row["name"] for row in report["moves"] if row["phase"] in _HELD and row["next"]]
    if not held:
        return ["", f"next: {command}"]
    # The same command alone would end as before.
    of_each = " and of ".join(held)
    return ["", f"next: do first what the line -> of {of_each} says; then `{command}`"]


def _options(document: dict[str, Any]) -> list[str]:
    return options_of(document["fleet"], document["folder"])


def show_plan(outlook: dict[str, Any], *, as_json: bool) -> None:
    """The plans of all moves, what each account takes, and the sums."""
    if as_json:
        write_document(outlook)
        return
    write_table([_plan_row(row) for row in outlook["moves"]])
    lines = [""]
    for account in outlook["accounts"]:
        lines.append(
            f"account with fingerprint {account['account']}: {counted(account['moves'], 'move')}, "
            f"{counted(account['requests'], 'request')} at {account['requests_per_5min']:,} in "
            f"5 min, about {format_about(account['minutes'] * 60)}; a rollback of all "
            f"{counted(account['rollback_requests'], 'request')}, about "
            f"{format_about(account['rollback_minutes'] * 60)}"
        )
    sums = outlook["sums"]
    lines.append(
        f"in all: {counted(int(sums['vectors']), 'vector')}, {int(sums['quarantined']):,} "
        f"quarantined, {sums['usd_per_month']:.2f} USD a month"
    )
    lines.append("to wait for the indexes is not in these minutes: see the plan of each move")
    if outlook["exit_code"] == 0:
        lines += ["", f"next: {shlex.join([*RUN, *_options(outlook)])}"]
    write_texts(lines)


def _plan_row(row: dict[str, Any]) -> TableRow:
    if row["exit_code"] or row["verdict"] is None:
        text = f"exit code {row['exit_code']}: {row['why'] or 'see its log'}"
        return TableRow(mark="fail", name=row["name"], text=text, advice=row["next"] or "")
    parts = [
        row["verdict"],
        counted(row["vectors"] or 0, "vector"),
        f"{row['quarantined']:,} quarantined",
        counted(row["requests"], "request"),
        f"about {format_about(row['minutes'] * 60)} alone",
    ]
    told = [*row["reasons"], *row["warnings"]]
    mark = "warn" if told else "ok"
    return TableRow(mark=mark, name=row["name"], text=", ".join(parts), advice="\n".join(told))
