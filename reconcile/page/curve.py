"""Parity as a curve over dimensions: points of an SVG drawing. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2

from reconcile.page.documents import Document

_WIDTH, _HEIGHT = 640.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 20.0, 14.0, 34.0

_STEP = 1  # tenths of overlap between two ticks
_FINE_FROM = 0.5  # a scale that begins lower has half as many ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """The mean overlap at one width, with the interval of the mean and the tenth percentile."""

    width: int  # dimensions
    x: float
    y: float
    low_y: float
    high_y: float
    tenth_y: float
    kept: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A drawing of 640 by 240 units; `ticks` are lines of equal overlap."""

    width: float
    height: float
    left: float
    right: float
    base: float  # y of the lowest tick
    dots: tuple[Dot, ...]
    ticks: tuple[tuple[float, str], ...]  # y, text
    path: str  # through the means
    area: str  # between the ends of the intervals


def curve_of(parity: Document) -> Curve | None:
    """The curve of a parity document; None when no width was measured."""
    found = parity.get("curve")
    kept = {
        int(width): figures
        for width, figures in (found if isinstance(found, Mapping) else {}).items()
    }
    if not kept:
        return None
    # The scale ends below the worst figure, at a tenth: differences near 1 stay visible.
    least = min(min(one["overlap"]["tenth"], one["overlap"]["low"]) for one in kept.values())
    floor = max(0, min(9, int(least * 10))) / 10
    widths = sorted(kept)

    def place_x(width: int) -> float:
        inner = _WIDTH - _LEFT - _RIGHT
        if len(widths) == 1:
            return _LEFT + inner / 2
        share = log2(width / widths[0]) / log2(widths[-1] / widths[0])
        return round(_LEFT + 24 + (inner - 48) * share, 1)

    def place_y(overlap: float) -> float:
        inner = _HEIGHT - _TOP - _BOTTOM
        return round(_TOP + inner * (1 - (overlap - floor) / (1 - floor)), 1)

    dots = tuple(
        Dot(
            width=width,
            x=place_x(width),
            y=place_y(kept[width]["overlap"]["mean"]),
            low_y=place_y(kept[width]["overlap"]["low"]),
            high_y=place_y(kept[width]["overlap"]["high"]),
            tenth_y=place_y(kept[width]["overlap"]["tenth"]),
            kept=kept[width],
        )
        for width in widths
    )
    steps = range(round(floor * 10), 11, _STEP if floor >= _FINE_FROM else 2 * _STEP)
    upper = [f"{dot.x} {dot.high_y}" for dot in dots]
    lower = [f"{dot.x} {dot.low_y}" for dot in reversed(dots)]
    return Curve(
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        base=_HEIGHT - _BOTTOM,
        dots=dots,
        ticks=tuple((place_y(step / 10), f"{step / 10:.1f}") for step in steps),
        path="M " + " L ".join(f"{dot.x} {dot.y}" for dot in dots),
        area="M " + " L ".join(upper + lower) + " Z",
    )
