"""When what happened, from the times that the documents hold: lanes of an SVG drawing. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from migrate.model.limits import REQUEST_WINDOW_S
from migrate.model.stamps import iso_stamp, parse_http_date
from reconcile.page.documents import Document, Documents

_WIDTH, _LEFT, _RIGHT, _LANE = 640.0, 92.0, 12.0, 30.0
_LEAST = 3.0  # width of a bar, however short it was
_UPLOAD, _REPAIR = "upload", "repair"  # lanes; only uploads of vectors have a date in the journal


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
    height: float
    lanes: tuple[tuple[str, float], ...]  # name, y
    bars: tuple[Bar, ...]
    begins: str
    ends: str
    left: float
    right: float
    uploads: int  # within the five minutes that had the most of them


def timeline_of(documents: Documents) -> Timeline | None:
    """The drawing; None when fewer than two moments are known."""
    spans = sorted(_spans(documents), key=lambda span: span.start_s)
    if len(spans) <= 1:
        return None
    begins, ends = spans[0].start_s, max(span.end_s for span in spans)
    lanes = list(dict.fromkeys(span.lane for span in spans))
    inner = _WIDTH - _LEFT - _RIGHT
    scale = inner / max(1.0, ends - begins)
    return Timeline(
        width=_WIDTH,
        height=_LANE * len(lanes) + 22,
        lanes=tuple((lane, at * _LANE) for at, lane in enumerate(lanes)),
        bars=tuple(
            Bar(
                span=span,
                x=round(min(_LEFT + (span.start_s - begins) * scale, _WIDTH - _RIGHT - _LEAST), 1),
                y=lanes.index(span.lane) * _LANE,
                width=round(max(_LEAST, (span.end_s - span.start_s) * scale), 1),
                begins=iso_stamp(span.start_s),
                ends=iso_stamp(span.end_s),
            )
            for span in spans
        ),
        begins=iso_stamp(begins),
        ends=iso_stamp(ends),
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
                text = f"{count:,} vectors, {size / 1e6:,.1f} MB"
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
