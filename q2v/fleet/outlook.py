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
    check, plan = (document_of(fleet, steps.get(name)) or {} for name in ("check", "plan"))
    estimate = plan.get("estimate") or {}
    failed = next((step for step in steps.values() if step.code), None)
    error = (check if failed is not None and failed.name == "check" else plan).get("error") or {}
    failing = [one for one in check.get("checks", []) if one.get("state") == "fail"]
    found = [f"{one['name']}: {one['found']}" for one in failing]
    return {
        "name": move.name,
        "account": move.account,
        "vector_index": move.settings.target.vector_index,
        "check": {key: check.get(key) for key in ("ok", "warn", "fail")},
        "verdict": (plan.get("verdict") or {}).get("word"),
        "exit_code": 0 if failed is None else failed.code,
        "why": error.get("what") or "; ".join(found),
        "next": error.get("next"),
        "points": plan.get("points"),
        "quarantined": sum((plan.get("quarantined") or {}).values()),
        **{key: estimate.get(key) for key in _ESTIMATES},
        "requests": sum(estimate.get(key) or 0 for key in _REQUESTS),
        "minutes": round(sum(estimate.get(key) or 0.0 for key in _OWN_MINUTES), 1),
        "request_s": estimate.get("request_s"),
        "rollback_requests": estimate.get("rollback_requests"),
        "rollback_minutes": estimate.get("rollback_minutes"),
        "usd_per_month": estimate.get("usd_per_month"),
    }


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
    return sum(row[key] or 0 for row in rows)
