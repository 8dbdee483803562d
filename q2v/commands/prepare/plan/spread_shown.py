"""Histograms and limits of a plan, as lines for people."""

from collections.abc import Iterator, Sequence

from migrate.plan.census.histograms import Histogram
from migrate.plan.census.limits_met import LimitMet
from migrate.words import counted

BAR = 30  # characters of the fullest bin


def histogram_lines(histograms: Sequence[Histogram]) -> Iterator[str]:
    """Each histogram with its range; empty bins at both ends are left out."""
    for one in histograms:
        if one.lowest is None or one.highest is None:
            continue
        median = "" if one.median is None else f", median {_size(one.median)}"
        yield f"{one.name}: {_size(one.lowest)} to {_size(one.highest)}{median}"
        filled = [at for at, count in enumerate(one.counts) if count]
        shown = range(filled[0], filled[-1] + 1)
        labels = [_bin(one.edges, at) for at in shown]
        width, most = max(map(len, labels)), max(one.counts)
        for at, label in zip(shown, labels, strict=True):
            count = one.counts[at]
            bar = "#" * max(bool(count), round(BAR * count / most))
            yield f"  {label:>{width}} {count:>12,} {bar}".rstrip()


def limit_lines(limits: Sequence[LimitMet]) -> Iterator[str]:
    """Each limit with the largest that was found, and the points that break it."""
    yield "limits:"
    for one in limits:
        parts = []
        if one.limit is not None:
            parts.append(f"at most {one.limit:,} {one.unit}".rstrip())
        if one.highest is not None:
            parts.append(f"found {one.highest:,}")
        broken = "kept by all"
        if one.broken:
            named = ", ".join(one.examples)
            more = one.broken - len(one.examples)
            rest = f" and {more:,} more" if more > 0 else ""
            broken = f"broken by {counted(one.broken, 'point')}: {named}{rest}"
        yield f"  {one.name}: {'; '.join([*parts, broken])}"


def _bin(edges: Sequence[float], at: int) -> str:
    """Whole sizes with their last one, others with the edge that is outside."""
    if at + 1 == len(edges):
        return f"{_size(edges[at])} and more"
    low, high = edges[at], edges[at + 1]
    if all(isinstance(edge, int) for edge in edges):
        return _size(low) if high - low == 1 else f"{_size(low)} to {_size(high - 1)}"
    return f"{_size(low)} to {_size(high)}"


def _size(size: float) -> str:
    return f"{size:,}" if isinstance(size, int) else f"{size:.4g}"
