"""Identity and verdict in words, from the documents. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from migrate.words import counted
from reconcile.page.documents import Document, Documents, numbers_of
from reconcile.page.drift import in_order, listed, words_of

_STORES = {
    "source": "the source",
    "ids": "the ids of the vector index",
    "contents": "the contents of the vector index",
    "metadata": "the metadata indexes",
    "kv": "the KV index",
}
_NO_DRIFT = "no drift at the stated coverage"  # how the reason of an equal report begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict for people."""

    word: str
    tone: str  # ok, bad, warn
    sentence: str
    why: str  # the document's own words; "" where the sentence says the same
    reasons: tuple[str, ...] = ()  # further sentences, each of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A line of the identity."""

    label: str
    value: str
    is_code: bool = False


def verdict_of(documents: Documents) -> Verdict:
    """The verdict of the newest document that has one: reconcile, parity, gate, plan."""
    if documents.report is not None and documents.outdated:
        return Verdict(
            word="outdated",
            tone="warn",
            sentence=f"The newest reconcile found: {documents.report.get('verdict')}. After it, "
            f"{documents.outdated}, so it no longer describes the target.",
            why="",
        )
    if documents.report is not None:
        return _of_report(documents.report)
    if documents.parity:
        return _of_parity(documents.parity[0])
    if documents.gate is not None:
        return of_gate(documents)
    if documents.plan is not None:
        return Verdict(
            word="not compared",
            tone="warn",
            sentence="No reconcile of this run has been finished: nothing is proven yet.",
            why="",
        )
    return _of_preflight(documents.preflight or {})


def _of_report(report: Document) -> Verdict:
    why = str(report.get("why", ""))
    match report.get("verdict"):
        case "equal":
            # What the sentence does not say: what was left out of the comparison.
            rest = why.removeprefix(_NO_DRIFT).removeprefix("; ")
            return Verdict(word="equal", tone="ok", sentence=_of_equal(report), why=rest)
        case "drift":
            return Verdict(word="drift", tone="bad", sentence=_of_drift(report), why="")
        case other:
            sentence = "The comparison is not complete, so it proves nothing."
            return Verdict(word=str(other), tone="warn", sentence=sentence, why=why)


def _of_equal(report: Document) -> str:
    coverage = report.get("coverage") or {}
    if coverage.get("contents") == "full":
        return "The target holds what the run should have written: every id and every content."
    bound = float(coverage.get("bound") or 0.0)
    return (
        "The target holds every id that the run should have written, and no sampled content "
        f"differs: with 95 % confidence at most {bound:.2%} of all contents do."
    )


def _of_drift(report: Document) -> str:
    counts = dict(numbers_of(report.get("drift")))
    found = [f"{counts[name]:,} {_title(name, counts[name])}" for name in in_order(counts)]
    moved = [
        f"{count:,} {'point' if count == 1 else 'points'} {name} in the source"
        for name, count in numbers_of(report.get("source_drift"))
    ]
    return f"Found {listed([*found, *moved] or ['a difference'])}."


def _title(name: str, count: int) -> str:
    if name == "metadata_indexes":
        return "metadata index at fault" if count == 1 else "metadata indexes at fault"
    words = words_of(name)
    return words.one if count == 1 else words.title


def of_gate(documents: Documents) -> Verdict:
    """The verdict of the gate's record."""
    gate = documents.gate or {}
    rows = gate.get("rows") or []
    passed = sum(row.get("verdict") == "pass" for row in rows)
    sentence = f"{passed} of {len(rows)} criteria of the cutover passed."
    word, tone = str(gate.get("verdict")), "ok" if gate.get("verdict") == "go" else "bad"
    if documents.is_stale(gate):
        word, tone = f"{word}, outdated", "warn"
        sentence += " The run has written since."
    return Verdict(word=word, tone=tone, sentence=sentence, why="")


def _of_parity(parity: Document) -> Verdict:
    word = str(parity.get("verdict"))
    tone = {"pass": "ok", "fail": "bad", "measured": "ok"}.get(word, "warn")
    return Verdict(word=word, tone=tone, sentence=str(parity.get("why", "")), why="")


def _of_preflight(plan: Document) -> Verdict:
    """The verdict of a plan in its own words; of a plan that failed, its error."""
    error = plan.get("error")
    if error:
        return Verdict(
            word="refused", tone="bad", sentence=_text(error["what"]), why=_text(error["next"])
        )
    judged = plan.get("verdict") or {"word": "planned", "reasons": []}
    word, reasons = str(judged["word"]), [str(reason) for reason in judged["reasons"]]
    moving, points = plan.get("vectors", 0), plan.get("points", 0)
    return Verdict(
        word=word,
        tone={"fits": "ok", "does not fit": "bad"}.get(word, "warn"),
        sentence=f"{moving:,} of {counted(points, 'point')} can move.",
        why=reasons[0] if len(reasons) == 1 else "",
        reasons=tuple(reasons) if len(reasons) > 1 else (),
    )


def unread_of(report: Document | None) -> str:
    """The stores that were not read to their end, as a list in a sentence."""
    names = [_STORES.get(name, str(name)) for name in (report or {}).get("unread") or ()]
    return listed(names) if names else ""


def title_of(documents: Documents) -> str:
    """Collection and vector index."""
    facts = {fact.label: fact.value for fact in facts_of(documents)}
    return f"{facts.get('collection', 'a collection')} → {facts.get('vector index', 'no target')}"


def kind_of(documents: Documents) -> str:
    """What the page is about, for the line above the title."""
    report = documents.report
    if report is not None:
        ordinal = f" {report['ordinal']}" if "ordinal" in report else ""
        return f"reconcile{ordinal} of run {report.get('run_id')}"
    if documents.plan is not None:
        return f"run {documents.plan.get('run_id')}"
    return "parity" if documents.parity else "plan"


def facts_of(documents: Documents) -> list[Fact]:
    """What was compared with what, by whom, with what, when."""
    return [fact for fact in _facts(documents) if fact.value]


def _facts(documents: Documents) -> Iterator[Fact]:
    manifest, plan = documents.manifest or {}, documents.plan or {}
    report, route = documents.report or {}, (documents.preflight or {}).get("route") or {}
    source, target = manifest.get("source") or {}, plan.get("vector_target") or {}
    kv_target = plan.get("kv_target") or {}
    planned = route.get("target") or {}
    yield Fact(
        label="collection", value=_text(manifest.get("collection") or route.get("collection"))
    )
    yield Fact(
        label="source",
        value=_text(source.get("url") or source.get("path") or route.get("source")),
        is_code=True,
    )
    yield Fact(label="read with", value=_text(manifest.get("server")))
    snapshot = manifest.get("snapshot_id") or route.get("snapshot_id")
    yield Fact(label="snapshot", value=_text(snapshot), is_code=True)
    yield Fact(label="content root", value=_text(manifest.get("content_root")), is_code=True)
    yield Fact(
        label="vector index",
        value=_text(target.get("vector_index") or planned.get("vector_index")),
        is_code=True,
    )
    yield Fact(label="one of", value=_list_of_indexes(plan))
    yield Fact(
        label="KV namespace",
        value=_text(kv_target.get("kv_namespace") or planned.get("kv_namespace")),
        is_code=True,
    )
    account = target.get("account") or planned.get("account")
    host = target.get("host") or planned.get("host")
    yield Fact(label="account", value=f"{account} at {host}" if account else "", is_code=True)
    yield Fact(label="run", value=_text(plan.get("run_id")), is_code=True)
    tool = documents.tool()
    is_known = tool.get("commit") not in {None, "unknown"}  # an installation without git
    commit = f", commit {tool['commit']}" if is_known else ""
    yield Fact(label="made with", value=f"{_text(tool.get('tool'))}{commit}")
    yield Fact(label="made by", value=_text(tool.get("operator")))
    yield Fact(label="compared", value=period(report.get("started_at"), report.get("at")))


def _list_of_indexes(plan: Document) -> str:
    """The vector indexes that share the collection, and which of them this is; "" for one."""
    shards = (plan.get("mapping") or {}).get("shards") or {}
    indexes, own = shards.get("indexes") or [], shards.get("own")
    if own not in indexes:
        return ""
    place = f"number {indexes.index(own) + 1} of {counted(len(indexes), 'vector index')}"
    return f"{place}: {', '.join(map(_text, indexes))}"


def period(start: object, end: object) -> str:
    """Two times of a document for people; the day is said once when it is the same."""
    first, last = moment(start), moment(end)
    if not first or not last or first == last:
        return first or last
    day, _, clock = last.partition(" ")
    same_day = first.startswith(f"{day} ") and first.endswith(" UTC")
    return f"{first.removesuffix(' UTC')} to {clock}" if same_day else f"{first} to {last}"


def moment(stamp: object) -> str:
    """An RFC 3339 time of a document for people: 2026-11-30 20:27:45 UTC."""
    text = _text(stamp)
    return text.replace("T", " ").replace("+00:00", " UTC")


def _text(value: object) -> str:
    return "" if value is None else str(value)
