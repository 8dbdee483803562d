"""The one screen of `q2v plan`: header, verdict, figures."""

from migrate.model.limits import FREE_KV_WRITES_PER_DAY, FREE_STORED_DIMENSIONS, PRICES_AS_OF
from migrate.plan.estimate import LINE_MBIT_PER_S, SETTLE_S_MIN
from migrate.words import counted
from q2v.commands.prepare.plan.gathering import PlanResult
from q2v.commands.prepare.plan.verdict import Verdict
from q2v.output.advice import advise
from q2v.output.render import Cell, elsewhere_cells, format_about, format_bytes, format_reasons
from q2v.rules.stages import mapping_rules
from q2v.settings import Settings

WIDTH = 80  # characters of a line


def rows(result: PlanResult, settings: Settings, verdict: Verdict) -> list[tuple[str, Cell]]:
    """The figures for people, with the verdict between header and counts."""
    header = result.route.cells()
    if result.route.snapshot_id is None:
        header.insert(-2, ("snapshot", "none: the source as it is now"))
    first, *more = map(advise, verdict.lines())
    return [
        *header,
        ("verdict", first),
        *(("", line) for line in more),
        *_counts(result),
        *_shard_key_cells(result, settings),
        *_work(result),
        *_money(result),
        ("pace", pace(result, settings)),
    ]


def _counts(result: PlanResult) -> list[tuple[str, Cell]]:
    findings, values = result.findings, result.values
    left_out = f"{format_reasons(findings.quarantined)} left out" if findings.quarantined else ""
    moving = f"{findings.points:,}, {findings.vectors:,} of them move"
    reduction = (
        f"{values.source_dimensions:,} -> {values.dimensions:,} ({values.reduce})"
        if values.reduce != "none"
        else f"{values.dimensions:,}"
    )
    return [
        ("points", f"{moving}; {left_out}" if left_out else moving),
        *_filter_cells(result),
        *elsewhere_cells(findings.elsewhere),
        ("files", f"{findings.files:,}, with one KV entry each"),
        *_namespace_cells(result),
        ("dimensions", f"{reduction}, {values.metric}"),
    ]


def _shard_key_cells(result: PlanResult, settings: Settings) -> list[tuple[str, Cell]]:
    """How many shard keys there are, and whether a rule takes them; no line without one."""
    keys, rule = result.findings.shard_keys, mapping_rules(settings).shard_key_rule
    if not keys:
        return []
    taken = "in no vector (--details)" if rule is None else f"in the field '{rule.name}'"
    return [("shard keys", f"{keys:,}, {taken}")]


def _filter_cells(result: PlanResult) -> list[tuple[str, Cell]]:
    """How many points of the collection do not match source.filter; no line without one."""
    left_out = result.route.left_out
    if left_out is None:
        return []
    in_all = result.findings.points + left_out
    return [("left out", f"{left_out:,} of {counted(in_all, 'point')}, by source.filter")]


def _namespace_cells(result: PlanResult) -> list[tuple[str, Cell]]:
    """How many namespaces there are, and the largest of them."""
    found = result.findings.namespaces
    if found is None:
        return []
    largest = ", ".join(f"{name} {vectors:,}" for name, vectors in found.largest)
    return [("namespaces", f"{found.count:,}; vectors of the largest: {largest}")]


def _work(result: PlanResult) -> list[tuple[str, Cell]]:
    figures = result.figures
    upload, rollback = figures.upload_work_minutes, figures.rollback_work_minutes
    planned = counted(figures.planned_reconcile_requests, "request")
    reconcile = f"{planned}, {_about(figures.planned_reconcile_minutes)}"
    if figures.contents_read < figures.vectors:
        reconcile += (
            f", reads {figures.contents_read:,} of {counted(figures.vectors, 'content')}; all of "
            f"them: {counted(figures.reconcile_requests, 'request')}, "
            f"{_about(figures.reconcile_minutes)}"
        )
    return [
        (
            "upload",
            f"{counted(figures.upload_requests, 'upload')}, {format_bytes(figures.upload_bytes)}; "
            f"{counted(figures.migrate_requests, 'request')}, {_about(upload)} "
            "and the wait",
        ),
        ("reconcile", reconcile),
        (
            "rollback",
            f"{counted(figures.rollback_requests, 'request')}, {_about(rollback)} "
            "and the wait, should it come to that",
        ),
        (
            "wait",
            f"{format_about(SETTLE_S_MIN)} to {format_about(figures.settle_minutes * 60)} after "
            "upload or rollback, until the index shows it",
        ),
    ]


def _about(minutes: float) -> str:
    return f"about {format_about(minutes * 60)}"


def _money(result: PlanResult) -> list[tuple[str, Cell]]:
    figures = result.figures
    reads = (
        f"; {figures.usd_reconcile_if_reads_count:.2f} a full reconcile, should reads count"
        if figures.usd_reconcile_if_reads_count
        else ""
    )
    return [
        ("cost", f"{figures.usd_per_month:.2f} USD a month{reads} (prices of {PRICES_AS_OF})"),
        ("free plan", _free_plan(result)),
        (
            "KV quota",
            f"{counted(figures.kv_writes, 'write')} of {FREE_KV_WRITES_PER_DAY:,} a day on the "
            "free plan, no limit on Workers Paid",
        ),
    ]


def _free_plan(result: PlanResult) -> str:
    """Whether the free plan of both products holds the move, and what does not fit."""
    figures, found = result.figures, result.findings.namespaces
    beyond = []
    if not figures.fits_free_plan:
        beyond.append("stored dimensions")
    if figures.kv_writes > FREE_KV_WRITES_PER_DAY:
        beyond.append("KV writes")
    if found is not None and not found.fits_free_plan:
        beyond.append("namespaces")
    stored = f"{figures.stored_dimensions:,} of {FREE_STORED_DIMENSIONS:,} stored dimensions"
    if beyond:
        return f"not enough ({' and '.join(beyond)}), Workers Paid is needed: {stored}"
    return f"enough: {stored}"


def pace(result: PlanResult, settings: Settings) -> str:
    """What the minutes rest on."""
    origin = "assumed" if result.target is None else "measured"
    return (
        f"{result.figures.request_s:.2f} s a request ({origin}), {LINE_MBIT_PER_S} Mbit/s, "
        f"{counted(settings.limits.requests_per_5min, 'request')} in 5 min"
    )
