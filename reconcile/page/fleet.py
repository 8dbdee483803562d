"""The page about many moves: a row for each, with its steps below."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from reconcile.page.render import render_with_style

_TONES = {
    "done": "ok",
    "stopped": "bad",
    "tries used up": "bad",
    "window over": "bad",
    "settings changed": "warn",
    "rolled back": "warn",
    "rolling back": "bad",
    "running": "warn",
    "not begun": "none",
}


def render_fleet(report: Mapping[str, Any]) -> str:
    """The HTML page of a fleet's report. The same report gives the same bytes."""
    counts = report["counts"]
    is_bad = any(_TONES.get(move["phase"]) == "bad" for move in report["moves"])
    is_done = counts["done"] == counts["moves"]
    return render_with_style(
        "fleet.html.jinja",
        report=report,
        tone="bad" if is_bad else "ok" if is_done else "warn",
        tones={move["phase"]: _TONES.get(move["phase"], "none") for move in report["moves"]},
        links=[_link(report, move) for move in report["moves"]],
    )


def _link(report: Mapping[str, Any], move: Mapping[str, Any]) -> str | None:
    """Where the page of the move is, from the folder of this page; None outside of it."""
    if not move["page"]:
        return None
    page, folder = PurePath(move["page"]), PurePath(report["folder"])
    return page.relative_to(folder).as_posix() if page.is_relative_to(folder) else None
