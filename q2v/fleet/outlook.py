"""What all moves of a fleet will take together, from what `q2v check` and `q2v plan` found."""

from collections.abc import Iterable
from typing import Any

from migrate.cloudflare.budget.forecast import duration_s
from q2v.fleet.model import Fleet, Move
from q2v.fleet.report import document_of
from q2v.fleet.state import FleetState

OUTLOOK_FORMAT = 1
_ESTIMATES = ("vectors", "files", "upload_bytes", "kv_writes")
_REQUESTS = ("migrate_requests", "planned_reconcile_requests")
_OWN_MINUTES = ("upload_minutes", "planned_reconcile_minutes")


def make_outlook(fleet: Fleet, state: FleetState, report: dict[str, Any]) -> dict[str, Any]:
    """The document: a row for each move, sums over each account, sums over all."""
    rows = [_row(fleet, state, move) for move in fleet.moves]
    accounts = [_account(fleet, account, rows) for account in _accounts(fleet)]
    planned = [row for row in rows if row["verdict"] is not None]
    return {
        "format": OUTLOOK_FORMAT,
        "fleet": str(fleet.path),
        "folder": str(fleet.directory),
        "exit_code": report["exit_code"],
        "moves": rows,
        "accounts": accounts,
        "sums": {
            "moves": len(rows),
            "planned": len(planned),
            **{key: _sum(rows, key) for key in (*_ESTIMATES, "quarantined", "requests")},
            "rollback_requests": _sum(rows, "rollback_requests"),
            "usd_per_month": round(_sum(rows, "usd_per_month"), 2),
        },
    }


def _row(fleet: Fleet, state: FleetState, move: Move) -> dict[str, Any]:
    steps = state.move(move.name).steps
    known = [
        (step, document_of(fleet, steps[step.name].document) or {})
        for step in move.steps
        if step.name in steps
    ]
    checks = [document for step, document in known if step.command == "check"]
    plans = [document for step, document in known if step.command == "plan"]
    estimates = [one.get("estimate") or {} for one in plans]
    failed = next((step for step in steps.values() if step.code), None)
    error: dict[str, Any] = next((one["error"] for _, one in known if one.get("error")), {})
    found, warned = _rows_of(checks, "fail"), _rows_of(checks, "warn")
    return {
        "name": move.name,
        "account": move.account,
        "vector_index": ", ".join(move.indexes),
        "check": {key: _sum(checks, key) for key in ("ok", "warn", "fail")},
        "warnings": warned,
        "verdict": _verdict(move, plans),
        "reasons": _reasons(plans),
        "exit_code": 0 if failed is None else failed.code,
        "why": error.get("what") or "; ".join(found),
        "next": error.get("next"),
        "points": next((one["points"] for one in plans if "points" in one), None),
        "quarantined": sum(sum((one.get("quarantined") or {}).values()) for one in plans),
        **{key: _sum(estimates, key) for key in _ESTIMATES},
        "requests": sum(_sum(estimates, key) for key in _REQUESTS),
        "minutes": round(sum(_sum(estimates, key) for key in _OWN_MINUTES), 1),
        "request_s": max((one.get("request_s") or 0.0 for one in estimates), default=0.0),
        "rollback_requests": _sum(estimates, "rollback_requests"),
        "rollback_minutes": round(_sum(estimates, "rollback_minutes"), 1),
        "usd_per_month": round(_sum(estimates, "usd_per_month"), 2),
    }


def _verdict(move: Move, plans: list[dict[str, Any]]) -> str | None:
    """Of all indexes: the first that does not fit; None while one is missing."""
    words = [str((one.get("verdict") or {}).get("word")) for one in plans if one.get("verdict")]
    if len(words) < len(move.indexes):
        return None
    return next((word for word in words if word != "fits"), "fits")


def _reasons(plans: list[dict[str, Any]]) -> list[str]:
    """What the operator has to know or to decide, of plans that do more than fit."""
    verdicts = [one["verdict"] for one in plans if isinstance(one.get("verdict"), dict)]
    found = [one.get("reasons") for one in verdicts if one.get("word") != "fits"]
    texts = [str(text) for reasons in found if isinstance(reasons, list) for text in reasons]
    return list(dict.fromkeys(texts))


def _rows_of(checks: list[dict[str, Any]], state: str) -> list[str]:
    """The rows of `q2v check` with this state, each text once, in words."""
    rows = [one for check in checks for one in check.get("checks", []) if isinstance(one, dict)]
    texts = [f"{one.get('name')}: {one.get('found')}" for one in rows if one.get("state") == state]
    return list(dict.fromkeys(texts))


def _account(fleet: Fleet, account: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The requests of an account's moves and the time that they take together.

    That is the longest of three: the move that takes longest by itself; the work of all, as many at
    once as the fleet runs; all requests, as the one budget lets them.
    """
    moves = [move for move in fleet.moves if move.account == account]
    own = [row for row in rows if row["account"] == account]
    requests_max = fleet.budgets.get(moves[0].account_id, _smallest_budget(moves))
    at_once = min(fleet.at_once, len(moves))
    request_s = max((row["request_s"] or 0.0 for row in own), default=0.0)
    requests, undone = int(_sum(own, "requests")), int(_sum(own, "rollback_requests"))
    longest = max((row["minutes"] for row in own), default=0.0)
    minutes = max(
        longest,
        _sum(own, "minutes") / at_once,
        _budget_minutes(requests, requests_max, request_s, at_once),
    )
    rollback = max(
        max((row["rollback_minutes"] or 0.0 for row in own), default=0.0),
        _budget_minutes(undone, requests_max, request_s, at_once),
    )
    return {
        "account": account,
        "moves": len(own),
        "requests_per_5min": requests_max,
        "requests": requests,
        "minutes": round(minutes, 1),
        "rollback_requests": undone,
        "rollback_minutes": round(rollback, 1),
    }


def _budget_minutes(requests: int, requests_max: int, request_s: float, at_once: int) -> float:
    seconds = duration_s(
        requests=requests,
        requests_max=requests_max,
        request_s=request_s / at_once,
        answer_s=request_s,
    )
    return seconds / 60


def _smallest_budget(moves: list[Move]) -> int:
    """Without a [[budget]] each command keeps to its own setting: at worst the smallest of them."""
    return min(move.settings.limits.requests_per_5min for move in moves)


def _accounts(fleet: Fleet) -> list[str]:
    return list(dict.fromkeys(move.account for move in fleet.moves))


def _sum(rows: Iterable[dict[str, Any]], key: str) -> float:
    return sum(row.get(key) or 0 for row in rows)
