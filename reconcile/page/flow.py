"""The counts as a flow from the source to KV: boxes and bands of an SVG drawing. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from reconcile.page.documents import Document, Documents, numbers_of

VECTORS = "vectors"  # unit of the stations from that on which points leave before
_BAND_MAX = 24.0  # width of the band of the largest count, in units of the drawing
_BAND_MIN = 2.0  # of one record


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measures:
    """Sizes of a drawing, in its own units; a browser scales it."""

    width: float  # of a box
    height: float
    gap: float  # between two boxes, where a band is
    branch_gap: float
    branch_width: float


_WIDE = _Measures(width=134.0, height=84.0, gap=28.0, branch_gap=40.0, branch_width=296.0)
_FULL_WIDTH = 6 * _WIDE.width + 5 * _WIDE.gap
_TALL = _Measures(width=200.0, height=72.0, gap=22.0, branch_gap=24.0, branch_width=116.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """One count on the way."""

    name: str
    count: int | None  # None: not read
    unit: str
    note: str
    tone: str  # ok, bad, warn, none


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A station of a drawing: the upper left corner."""

    station: Station
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Band:
    """A line from one box to another."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A drawing."""

    name: str  # wide or tall
    width: float
    height: float
    boxes: tuple[Box, ...]
    bands: tuple[Band, ...]


def stations_of(documents: Documents) -> tuple[list[Station], Station | None]:
    """The stations in the order of the data, and the points that are not moved, if there are any.

    They were left out, or belong to other vector indexes. They leave the flow before the first
    station that counts vectors.
    """
    report, plan = documents.report or {}, documents.plan or documents.preflight or {}
    counts, drift = report.get("counts") or {}, report.get("drift") or {}
    left_out = dict(numbers_of(documents.quarantined or plan.get("quarantined")))
    elsewhere = dict(numbers_of(plan.get("elsewhere")))
    gone = {**left_out, **{f"of {index}": count for index, count in elsewhere.items()}}
    branch = Station(
        name=" and ".join(["left out"] * bool(left_out) + ["elsewhere"] * bool(elsewhere)),
        count=sum(gone.values()),
        unit="points",
        note=", ".join(f"{reason} {count:,}" for reason, count in gone.items()),
        tone="warn" if left_out else "ok",
    )
    points = counts.get("snapshot", plan.get("points"))
    moved = None if points is None else points - sum(gone.values())
    stations = [
        Station(
            name="source",
            count=counts.get("source"),
            unit="points",
            note=_drift_note(report.get("source_drift"), "as in the snapshot"),
            tone=_tone(counts.get("source"), report.get("source_drift")),
        ),
        Station(name="snapshot", count=points, unit="points", note="sealed", tone="ok"),
        Station(name="moved", count=moved, unit=VECTORS, note="by the plan", tone="ok"),
    ]
    if documents.report is not None:
        stations += _of_target(counts, drift, moved)
    elif documents.plan is not None:
        stations = stations[1:]
    else:  # a plan reads the source, or a snapshot
        route = plan.get("route") or {}
        name = "source" if route.get("snapshot_id") is None else "snapshot"
        stations = [
            Station(name=name, count=points, unit="points", note="every point checked", tone="ok"),
            replace(stations[2], name="would move", note="if it were done now"),
        ]
    return stations, branch if gone else None


def _of_target(counts: Document, drift: Document, moved: int | None) -> Iterator[Station]:
    expected = counts.get("expected")
    vectors = {name: drift.get(name) for name in ("missing", "extra", "mismatched", "unreadable")}
    keys = {
        name.removeprefix("kv_"): drift.get(name)
        for name in ("kv_missing", "kv_extra", "kv_mismatched")
    }
    yield Station(
        name="vector index",
        count=counts.get("vector_index"),
        unit=VECTORS,
        note=_drift_note(
            vectors,
            _expected_note(expected, moved),
            unread="not read" if expected is None else "contents not read",
        ),
        tone=_tone(counts.get("vector_index"), vectors),
    )
    yield Station(
        name="KV index",
        count=counts.get("kv_ids"),
        unit="vectors named",
        note=_drift_note(keys, "every key as written"),
        tone=_tone(counts.get("kv_ids"), keys),
    )
    wrong, counter = drift.get("counter"), counts.get("kv_counter")
    known = "right" if not wrong else "wrong" if counter is not None else "absent, or not a number"
    yield Station(
        name="KV counter",
        count=counter,
        unit="vectors counted",
        note="not read" if wrong is None else known,
        tone="bad" if wrong else "none" if wrong is None else "ok",
    )


def _expected_note(expected: int | None, moved: int | None) -> str:
    if expected is None:
        return ""
    others = expected - (expected if moved is None else moved)
    return f"{expected:,} expected" + f", {others:,} of others" * (others > 0)


def _tone(count: object, drift: object) -> str:
    if any(numbers_of(drift)):
        return "bad"
    return "none" if count is None else "ok"


def _drift_note(drift: object, otherwise: str, *, unread: str = "not read") -> str:
    """What differs; with nothing, `otherwise`, or `unread` when a store was not read to its end."""
    found = ", ".join(f"{count:,} {name}" for name, count in numbers_of(drift))
    is_read = isinstance(drift, dict) and None not in drift.values()
    return found or (otherwise if is_read else unread)


def draw(stations: list[Station], branch: Station | None, *, tall: bool) -> Flow:
    """The drawing from left to right, or from top to bottom for a narrow window."""
    size = _TALL if tall else _WIDE
    width = size.width + size.branch_gap + size.branch_width if tall and not branch else size.width
    step = size.gap + (size.height if tall else width)
    boxes = [
        Box(
            station=station,
            x=0.0 if tall else at * step,
            y=at * step if tall else 0.0,
            width=width,
            height=size.height,
        )
        for at, station in enumerate(stations)
    ]
    most = max((station.count or 0 for station in [*stations, branch] if station), default=0)
    bands = [_band(*pair, most, tall=tall) for pair in pairwise(boxes)]
    if branch is not None:
        start = next(before for before, after in pairwise(boxes) if after.station.unit == VECTORS)
        side = Box(
            station=branch,
            x=start.width + size.branch_gap if tall else start.x,
            y=start.y if tall else size.height + size.branch_gap,
            width=size.branch_width,
            height=size.height,
        )
        bands.append(_band(start, side, most, tall=not tall))
        boxes.append(side)
    return Flow(
        name="tall" if tall else "wide",
        # Fewer stations are not drawn larger.
        width=max(_FULL_WIDTH * (not tall), *(box.x + box.width for box in boxes)),
        height=max(box.y + box.height for box in boxes),
        boxes=tuple(boxes),
        bands=tuple(bands),
    )


def _band(before: Box, after: Box, most: int, *, tall: bool) -> Band:
    """A straight band between two boxes, as wide as the count that arrives."""
    if tall:
        x = before.x + min(before.width, after.width) / 2
        line = (x, before.y + before.height, x, after.y)
    else:
        y = before.y + after.height / 2
        line = (before.x + before.width, y, after.x, y)
    count = after.station.count
    share = 1.0 if count is None or not most else count / most
    return Band(
        *line,
        width=round(max(_BAND_MIN, _BAND_MAX * share), 1),
        tone="none" if count is None else after.station.tone,
    )
