"""When what happened, from the times that the documents hold: lanes of an SVG drawing. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from migrate.model.limits import REQUEST_WINDOW_S
from migrate.model.stamps import iso_stamp, parse_http_date
from migrate.words import counted
from reconcile.page.documents import Document, Documents

_WIDTH, _LEFT, _RIGHT, _LANE = 640.0, 92.0, 12.0, 30.0
_PAUSE = 34.0  # width of a long pause
_PAUSE_S_MIN = 600.0
_LEAST = 3.0  # width of a bar, however short it was
_UPLOAD, _REPAIR = "upload", "repair"  # lanes; only uploads of vectors have a date in the journal
_LANES = (
    *("snapshot", "plan", "pre-images", _UPLOAD, "wait", "KV index"),
    *("reconcile", _REPAIR, "parity", "gate"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took time, or a moment (start = end). Seconds since 1970."""

    lane: str
    start_s: float
    end_s: float
    text: str
    tone: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A span of the drawing."""

    span: Span
    x: float
    y: float
    width: float
    begins: str  # RFC 3339
    ends: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A drawing, with the same as text."""

    width: float
    base: float  # y below the lanes; times stand there
    height: float
    lanes: tuple[tuple[str, float], ...]  # name, y
    bars: tuple[Bar, ...]
    begins: str
    ends: str
    left: float
    right: float
    breaks: tuple[tuple[float, str], ...]  # x and length of a pause that is drawn short
    uploads: int  # within the five minutes that had the most of them


@dataclass(frozen=True, slots=True)
class _Axis:
    """Time as a place in the drawing: in proportion, but for long pauses, which are all alike."""

    begins: float
    pauses: tuple[tuple[float, float], ...]  # start and end, in order
    pause: float  # width of each
    scale: float  # units of the drawing for a second

    def x(self, at_s: float) -> float:
        """The place of a moment."""
        shown = at_s - self.begins
        drawn = 0.0
        for start, end in self.pauses:
            share = min(1.0, max(0.0, (at_s - start) / (end - start)))
            shown -= share * (end - start)
            drawn += share * self.pause
        return _LEFT + shown * self.scale + drawn


def _axis_of(spans: Sequence[Span]) -> _Axis:
    """A pause is drawn short when it is longer than all work together, and than ten minutes."""
    pauses: list[tuple[float, float]] = []
    worked, until = 0.0, spans[0].start_s
    for span in spans:
        if span.start_s > until:
            pauses.append((until, span.start_s))
        worked += max(0.0, span.end_s - max(until, span.start_s))
        until = max(until, span.end_s)
    long = tuple(one for one in pauses if one[1] - one[0] > max(worked, _PAUSE_S_MIN))
    shown = until - spans[0].start_s - sum(end - start for start, end in long)
    room = _WIDTH - _LEFT - _RIGHT
    pause = min(_PAUSE, room / 2 / max(1, len(long)))  # many pauses leave half of the room to work
    return _Axis(spans[0].start_s, long, pause, (room - pause * len(long)) / max(1.0, shown))


def _in_words(seconds: float) -> str:
    """A long pause for people: 3 d, 5 h, 40 min."""
    for unit, size in (("d", 86_400), ("h", 3_600)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.0f} min"


def timeline_of(documents: Documents) -> Timeline | None:
    """The drawing; None when fewer than two moments are known."""
    spans = sorted(_spans(documents), key=lambda span: span.start_s)
    if len(spans) <= 1:
        return None
    axis = _axis_of(spans)
    lanes = [lane for lane in _LANES if lane in {span.lane for span in spans}]
    return Timeline(
        width=_WIDTH,
        base=_LANE * len(lanes),
        height=_LANE * len(lanes) + (36 if axis.pauses else 22),
        lanes=tuple((lane, at * _LANE) for at, lane in enumerate(lanes)),
        bars=tuple(
            Bar(
                span=span,
                x=round(min(axis.x(span.start_s), _WIDTH - _RIGHT - _LEAST), 1),
                y=lanes.index(span.lane) * _LANE,
                width=round(max(_LEAST, axis.x(span.end_s) - axis.x(span.start_s)), 1),
                begins=iso_stamp(span.start_s),
                ends=iso_stamp(span.end_s),
            )
            for span in spans
        ),
        begins=iso_stamp(spans[0].start_s),
        ends=iso_stamp(max(span.end_s for span in spans)),
        breaks=tuple(
            (round((axis.x(start) + axis.x(end)) / 2, 1), _in_words(end - start))
            for start, end in axis.pauses
        ),
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        uploads=_most_uploads([span for span in spans if span.lane in {_UPLOAD, _REPAIR}]),
    )


def _spans(documents: Documents) -> Iterator[Span]:
    manifest, plan = documents.manifest or {}, documents.plan or {}
    yield from _span(
        "snapshot", manifest.get("started_at"), manifest.get("sealed_at"), "read and sealed", "none"
    )
    created = plan.get("created_at")
    yield from _span("plan", created, created, "made", "none")
    yield from _stages(documents.entries, created)
    for report in documents.reconciles:
        tone = {"equal": "ok", "drift": "bad"}.get(str(report.get("verdict")), "warn")
        words = f"{report.get('ordinal', '')}: {report.get('verdict')}".lstrip(": ")
        yield from _span("reconcile", report.get("started_at"), report.get("at"), words, tone)
    for parity in documents.parity:
        yield from _span("parity", parity.get("at"), parity.get("at"), "measured", "none")
    gate = documents.gate
    if gate is not None:
        tone = "ok" if gate.get("verdict") == "go" else "bad"
        yield from _span("gate", gate.get("at"), gate.get("at"), str(gate.get("verdict")), tone)


def _span(lane: str, start: object, end: object, text: str, tone: str) -> Iterator[Span]:
    start_s, end_s = _seconds(start), _seconds(end)
    if start_s is not None and end_s is not None:
        yield Span(lane=lane, start_s=start_s, end_s=max(start_s, end_s), text=text, tone=tone)


def _stages(entries: Sequence[Document], created: object) -> Iterator[Span]:
    """Pre-images, uploads, the wait until they are processed, and the KV index, of each round.

    Uploads are dated by the target and the rest by this machine; a wait is never shown as negative.
    """
    begun = created
    uploads = list(_uploads(entries))
    for entry in entries:
        at = entry.get("at")
        match entry.get("type"):
            case "pre_images_sealed":
                yield from _span("pre-images", begun, at, "captured", "none")
            case "vectors_processed":
                at_s = _seconds(at)
                before = [one.end_s for one in uploads if at_s is not None and one.end_s <= at_s]
                last = iso_stamp(max(before)) if before else at
                text = f"waited until processed: {entry.get('evidence', '')}"
                yield from _span("wait", last, at, text, "none")
                begun = at
            case "round_completed":
                yield from _span("KV index", begun, at, "entries and counter written", "none")
    yield from uploads


def _uploads(entries: Sequence[Document]) -> Iterator[Span]:
    """One moment for each upload: the target's own time in the answer that took it."""
    sent: dict[tuple[object, ...], Document] = {}
    for entry in entries:
        name = (entry.get("round"), entry.get("store"), entry.get("batch"))
        if entry.get("type") == "intent":
            sent[name] = entry
        elif entry.get("type") == "ack" and name in sent:
            at_s = parse_http_date(str(entry.get("server_date", "")))
            if at_s is not None:
                count, size = sent[name].get("count", 0), sent[name].get("bytes", 0)
                lane = _UPLOAD if entry.get("round") == 0 else _REPAIR
                text = f"{counted(count, 'vector')}, {size / 1e6:,.1f} MB"
                yield Span(lane=lane, start_s=at_s, end_s=at_s, text=text)


def _most_uploads(spans: Sequence[Span]) -> int:
    """The most uploads within any five minutes; spans in order of time."""
    first = most = 0
    for last, span in enumerate(spans):
        while span.start_s - spans[first].start_s >= REQUEST_WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def _seconds(stamp: object) -> float | None:
    try:
        return datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return None
