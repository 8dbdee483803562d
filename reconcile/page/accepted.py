"""Whether a document that an operator names is one that the page can show. Pure."""

from collections.abc import Mapping

from reconcile.page.documents import Document

_MEASURES = ("overlap", "same_first", "rank_biased", "contained")
_FIGURES = ("mean", "low", "high", "tenth")
_ESTIMATE = (
    "upload_bytes",
    "upload_requests",
    "upload_minutes",
    "list_requests",
    "content_requests",
    "reconcile_minutes",
    "rollback_requests",
    "rollback_minutes",
    "usd_per_month",
)


def is_parity(document: Document) -> bool:
    """Whether it is what `q2v parity --json` prints."""
    match document:
        case {
            "verdict": str(),
            "why": str(),
            "rules": {"top": int(), "dimensions": int()},
            "curve": dict() as curve,
        }:
            asked = [document.get(name) for name in ("index", "whole")]
            widths = all(str(width).isascii() and str(width).isdigit() for width in curve)
            strangers = document.get("strangers", 0)
            kept = [*curve.values(), *(one for one in asked if one is not None)]
            return widths and isinstance(strangers, int) and all(map(_is_kept, kept))
        case _:
            return False


def is_preflight(document: Document) -> bool:
    """Whether it is what `q2v plan --json` prints, of a plan that failed too."""
    match document:
        case {"error": {"what": str(), "next": str()}}:
            return True
        case {
            "points": int(),
            "vectors": int(),
            "estimate": Mapping() as estimate,
            "prices_as_of": str(),
        }:
            numbers = all(_is_number(estimate.get(name)) for name in _ESTIMATE)
            return numbers and _is_verdict(document.get("verdict"))
        case _:
            return False


def _is_verdict(verdict: object) -> bool:
    match verdict:
        case None:  # of an earlier version
            return True
        case {"word": str(), "reasons": list() as reasons}:
            return all(isinstance(reason, str) for reason in reasons)
        case _:
            return False


def _is_kept(kept: object) -> bool:
    if not isinstance(kept, Mapping):
        return False
    measures = [kept.get(name) for name in _MEASURES]
    worst = kept.get("worst_queries")
    return (
        all(isinstance(one, Mapping) and _are_shares(one) for one in measures)
        and isinstance(worst, list)
        and all(isinstance(one, Mapping) and _is_number(one.get("overlap")) for one in worst)
        and all("name" in one for one in worst)
    )


def _are_shares(figure: Mapping[object, object]) -> bool:
    return all(_is_share(figure.get(name)) for name in _FIGURES)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
