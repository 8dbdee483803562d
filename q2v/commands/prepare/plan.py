"""`q2v plan`: what would move, what cannot, and what it takes; writes to no store."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import click

from migrate.begin import check_findings
from migrate.errors import MigrationError
from migrate.mapping.agreement import idle_rules
from migrate.mapping.ids import DIGEST_BITS, collision_bound
from migrate.mapping.kv_entries import COUNTER_MEANING
from migrate.mapping.payload import Quarantined
from migrate.mapping.values import ValueRules
from migrate.model.limits import PRICES_AS_OF
from migrate.plan.estimate import LINE_MBIT_PER_S, LONG_ROLLBACK, Estimate, is_long_rollback
from migrate.plan.make import PlanFindings, check_snapshot, check_source, open_id_table
from migrate.plan.rules import PlanRules
from migrate.provision import TargetState, read_target_state
from migrate.run.choose import find_snapshot
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import WorkFolder
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder
from q2v import wiring
from q2v.commands.prepare import transforms_shown
from q2v.options import (
    PLANNING,
    SEAL,
    SOURCE,
    TARGET,
    folder_option,
    json_option,
    refuse_flags,
    takes,
    waive_index_option,
)
from q2v.output.advice import advise
from q2v.output.configured import shown_settings, unknown_environment
from q2v.output.following import (
    Following,
    following_here,
    following_snapshot,
    newest_snapshot,
)
from q2v.output.progress import open_progress
from q2v.output.render import Cell, format_bytes, render
from q2v.output.route import Route, configured_target, route_from_snapshot, route_from_source
from q2v.settings import Settings
from reconcile.parity.record import MeasuredCut, find_cut

QUARANTINED_SHOWN_MAX = 20  # lines
LEFT_OUT_IDS_MAX = 3  # of one line


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """Everything `q2v plan` shows."""

    route: Route
    values: ValueRules
    findings: PlanFindings
    figures: Estimate
    target: TargetState | None  # None: not configured, not read
    credentials: tuple[str, ...] = ()  # what keys and tokens can do beyond their work
    reading: "Transfer | None" = None  # None: no server is read
    cut: MeasuredCut | None = None  # what fewer dimensions keep; None: not cut, or not measured
    show_values: bool = False  # of payloads, in the examples of transforms


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How points come from a server."""

    transport: str
    compression: str

    def words(self) -> str:
        """For people."""
        packed = "not packed" if self.compression == "identity" else f"packed ({self.compression})"
        return f"{self.transport}, answers {packed}"


def describe_reading(identity: Mapping[str, str], settings: Settings) -> Transfer | None:
    """The protocol in use and how answers travel; None for an embedded store."""
    transport = identity.get("transport")
    if settings.source.url is None or transport is None:
        return None
    return Transfer(transport=transport, compression=settings.source.compression)


@takes(*SOURCE, *TARGET, *PLANNING, "snapshot.page_points", SEAL)
@click.command("plan")
@click.argument("snapshot", required=False, type=click.Path(path_type=Path))
@click.option("--allow-cast", is_flag=True, help="Move uint8 or float16 values as float32.")
@click.option("--allow-empty", is_flag=True, help="Plan an empty collection.")
@waive_index_option
@click.option("--show-settings", is_flag=True, help="Show the settings with default values too.")
@click.option("--show-values", is_flag=True, help="Show values in the examples of transforms.")
@folder_option
@json_option
def command(
    *,
    snapshot: Path | None,
    waived_indexes: tuple[str, ...],
    show_settings: bool,
    show_values: bool,
    folder: Path,
    as_json: bool,
    settings: Settings,
    **allowed: bool,
) -> None:
    """Check every point of the source, or of SNAPSHOT, against every limit of the target.

    Writes nothing to either side. The target is read when it is configured.
    """
    if snapshot is not None:
        why = "with SNAPSHOT: the source is not read"
        refuse_flags(settings, (*SOURCE, "snapshot.page_points"), why=why)
    choices = wiring.Choices(
        allow_cast=allowed["allow_cast"],
        allow_empty=allowed["allow_empty"],
        waived_indexes=frozenset(waived_indexes),
    )
    rules = wiring.plan_rules(settings, choices)
    directory, clock = wiring.open_folder(folder), wiring.system_clock()
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        runtime = Runtime(
            clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
        )
        named = wiring.open_named(directory, snapshot)
        result, found = gather(settings, rules, directory, runtime, named)
        is_ready = None if result.target is None else result.target.is_ready
        following = (
            following_here(directory, settings, wiring.seal_key(settings), provisioned=is_ready)
            if found is None
            else following_snapshot(found, settings, provisioned=is_ready)
        )
    failure = _find_failure(result.findings, result.figures, rules)
    show(
        replace(result, show_values=show_values),
        settings,
        None if failure is not None else following,  # the failure says what comes next
        show_settings=show_settings,
        as_json=as_json,
    )
    if failure is not None:
        raise failure


def gather(
    settings: Settings,
    rules: PlanRules,
    directory: LocalFolder,
    runtime: Runtime,
    named: WorkFolder | None,
) -> tuple[PlanResult, Snapshot | None]:
    """Check every point of the snapshot in the folder `named`, or of the source; read the target.

    Returns the snapshot too, None for the source. Holds the lock of the folder meanwhile.
    """
    clock, progress = runtime.clock, runtime.progress
    found: Snapshot | None = None
    with ExitStack() as stack:
        if named is None:
            source = stack.enter_context(
                wiring.open_source(settings, directory, clock=clock, progress=progress)
            )
            stack.enter_context(FolderLock(directory))
            route = route_from_source(source, settings)
            reading = describe_reading(source.identity(), settings)
            values, findings = check_source(
                source, rules, directory, runtime, page_points=settings.snapshot.page_points
            )
        else:
            stack.enter_context(FolderLock(directory))
            found = find_snapshot(directory, named, wiring.seal_key(settings))
            wiring.check_snapshot_collection(found, settings)
            route = route_from_snapshot(found, configured_target(settings), clock)
            with open_id_table(directory, found.manifest.points) as table:
                values, findings = check_snapshot(found, rules, table, runtime)
            reading = None
        state, request_s = None, None
        credentials = wiring.source_credential_notes(settings) if named is None else ()
        if settings.target.vector_index is not None and settings.target.api_token is not None:
            http, _, _ = wiring.open_http(settings, directory, clock=clock, progress=progress)
            stack.callback(http.close)
            state = read_target_state(
                http,
                values,
                rules,
                runtime,
                name=settings.target.vector_index,
                namespace_id=settings.target.kv_namespace_id,
            )
            credentials += wiring.target_credential_notes(settings, http)
            request_s = http.median_answer_s()
    assert rules.window is not None
    result = PlanResult(
        route=route,
        values=values,
        findings=findings,
        figures=rules.window.estimate(findings.load(values, rules.writes), request_s=request_s),
        target=state,
        credentials=credentials,
        reading=reading,
        cut=find_measured_cut(directory, found, values, settings),
    )
    return result, found


def find_measured_cut(
    directory: LocalFolder, snapshot: Snapshot | None, values: ValueRules, settings: Settings
) -> MeasuredCut | None:
    """What `q2v parity` has measured of this cut, in the snapshot, or else in the newest one."""
    if not values.is_cut:
        return None
    if snapshot is None:
        snapshot = newest_snapshot(directory, settings, wiring.seal_key(settings))
    return None if snapshot is None else find_cut(snapshot, values)


def _find_failure(
    findings: PlanFindings, figures: Estimate, rules: PlanRules
) -> MigrationError | None:
    """What makes a migrate with these findings stop before its first write; None for nothing."""
    try:
        check_findings(findings, rules)
        assert rules.window is not None
        rules.window.check(figures)
    except MigrationError as failure:
        return failure
    return None


def show(
    result: PlanResult,
    settings: Settings,
    following: Following | None,
    *,
    show_settings: bool,
    as_json: bool,
) -> None:
    """The plan as JSON or as lines."""
    members: dict[str, object] = {} if following is None else following.document()
    last = [] if following is None else following.notes()
    render(
        {**document(result, settings), **members},
        rows(result, settings),
        as_json=as_json,
        notes=[] if as_json else [*notes(result, settings, show_settings=show_settings), *last],
    )


def document(result: PlanResult, settings: Settings) -> dict[str, object]:
    """The JSON document."""
    findings = result.findings
    return {
        "route": result.route.document(),
        "reading": None if result.reading is None else asdict(result.reading),
        "points": findings.points,
        "vectors": findings.vectors,
        "files": findings.files,
        "quarantined": findings.quarantined,
        "quarantine_cap": findings.quarantine_cap,
        "quarantined_points": [
            {
                "row": point.row,
                "point_id": point.point_id.text,
                "reason": point.outcome.reason.value,
                "field": point.outcome.field,
                "detail": point.outcome.detail,
            }
            for point in findings.quarantined_points
        ],
        "changes": findings.changes,
        "transforms": transforms_shown.document(findings, show_values=result.show_values),
        "metadata_bytes_saved": findings.bytes_saved,
        "files_with_gaps": findings.files_with_gaps,
        "long_indexed": findings.long_indexed,
        "metadata_types": {one.name: one.found for one in findings.property_types},
        "hash_mismatches": findings.hash_mismatches,
        "hashed_ids": findings.hashed_ids,
        "counter_file": findings.counter_file,
        "namespaces": None
        if findings.namespaces is None
        else {
            "count": findings.namespaces.count,
            "largest": [
                {"namespace": name, "vectors": vectors}
                for name, vectors in findings.namespaces.largest
            ],
        },
        "values": asdict(result.values),
        "parity": None if result.cut is None else asdict(result.cut),
        "estimate": asdict(result.figures),
        "prices_as_of": PRICES_AS_OF,
        "target": None if result.target is None else asdict(result.target),
        "credentials": result.credentials,
        "settings": shown_settings(settings),
    }


def rows(result: PlanResult, settings: Settings) -> list[tuple[str, Cell]]:
    """The figures for people."""
    findings, figures, values = result.findings, result.figures, result.values
    reduction = (
        f"{values.source_dimensions} -> {values.dimensions} ({values.reduce})"
        if values.reduce != "none"
        else str(values.dimensions)
    )
    cells: list[tuple[str, Cell]] = [
        *result.route.cells(),
        *([] if result.reading is None else [("read over", result.reading.words())]),
        ("points", findings.points),
        *_filter_cells(result),
        ("vectors that move", findings.vectors),
        ("files (KV entries)", findings.files),
        *_namespace_cells(findings),
        ("dimensions", f"{reduction}, {values.metric}"),
        (f"counter ({settings.kv.counter_key})", f"will hold the number of {COUNTER_MEANING}"),
    ]
    if result.target is not None and result.target.kv_namespace is not None:
        cells.append(("KV namespace", result.target.kv_namespace.in_words()))
    cells += [(f"quarantined: {reason}", n) for reason, n in findings.quarantined.items()]
    cells += [(f"changed: {change}", n) for change, n in findings.changes.items()]
    return [
        *cells,
        (
            "upload",
            f"{figures.upload_requests} requests, {format_bytes(figures.upload_bytes)}, "
            f"{figures.upload_minutes:.1f} min",
        ),
        (
            "full reconcile",
            f"{figures.list_requests + figures.content_requests} requests, "
            f"{figures.reconcile_minutes:.1f} min ({figures.content_minutes:.1f} of them for the "
            "contents)",
        ),
        (
            "reconcile by the settings",
            f"{figures.contents_read:,} of {figures.vectors:,} contents, "
            f"{figures.planned_reconcile_minutes:.1f} min",
        ),
        (
            "rollback, if it came to that",
            f"{figures.rollback_requests} requests, {figures.rollback_minutes:.1f} min "
            f"({figures.rollback_minutes / 60:.1f} h)",
        ),
        (
            "cost",
            f"{figures.usd_per_month:.2f} USD a month; should reads count as queries, "
            f"{figures.usd_reconcile_if_reads_count:.2f} a full reconcile "
            f"(prices of {PRICES_AS_OF})",
        ),
    ]


def _filter_cells(result: PlanResult) -> list[tuple[str, Cell]]:
    """How many points of the collection do not match source.filter; no line without one."""
    left_out = result.route.left_out
    if left_out is None:
        return []
    in_all = result.findings.points + left_out
    return [("left out by source.filter", f"{left_out:,} of {in_all:,} points")]


def _namespace_cells(findings: PlanFindings) -> list[tuple[str, Cell]]:
    """How many namespaces there are, and the largest of them."""
    found = findings.namespaces
    if found is None:
        return []
    largest = ", ".join(f"{name} {vectors:,}" for name, vectors in found.largest)
    return [
        ("namespaces", found.count),
        ("vectors of the largest namespaces", largest),
    ]


def notes(result: PlanResult, settings: Settings, *, show_settings: bool) -> list[str]:
    """What a reader should not miss, then the settings with their origins."""
    findings, lines = result.findings, [""]
    if result.values.is_cut:
        lines.append(
            f"note: after the cutover every query must be embedded with {result.values.dimensions} "
            "dimensions; the reduction is right only for models trained for it"
        )
        lines.append(advise(_cut_note(result)))
    if not result.figures.fits_free_plan:
        lines.append(
            "note: more stored dimensions than the free plan holds: Workers Paid is needed"
        )
    if is_long_rollback(result.figures.rollback_minutes):
        lines.append(f"note: {LONG_ROLLBACK}")
    lines.append(_pace_note(result, settings))
    lines += transforms_shown.lines(findings, show_values=result.show_values)
    lines += _finding_notes(findings, settings.mapping.order_key)
    lines += map(advise, _target_notes(result))
    lines += [f"note: {note}" for note in result.credentials]
    lines += [f"note: {note}" for note in idle_rules(wiring.mapping_rules(settings).by_setting)]
    lines += [
        f"note: unknown environment variable {name} ignored; did you mean {nearest}?"
        for name, nearest in unknown_environment()
    ]
    lines += [*_quarantined_lines(findings), ""]
    for row in shown_settings(settings):
        if show_settings or row["key"] in settings.origins:
            lines.append(f"{row['key']} = {row['shown']}  ({row['origin']})")
    if not show_settings:
        lines.append("all other settings have their defaults (--show-settings shows them)")
    return lines


def _cut_note(result: PlanResult) -> str:
    """What a cut of dimensions keeps of search, as far as it was measured."""
    width, cut = result.values.dimensions, result.cut
    if cut is None:
        return (
            f"warning: nothing says how much of search the cut to {width:,} dimensions keeps: "
            f"measure it in a snapshot with `q2v parity --at {width} --min-overlap SHARE`"
        )
    if cut.holds is None:
        how = f"`q2v parity --at {width} --min-overlap SHARE`"
        return f"warning: {cut.in_words()}; {how} judges it, as the gate wants"
    return f"{'note' if cut.holds else 'warning'}: {cut.in_words()}"


def _quarantined_lines(findings: PlanFindings) -> list[str]:
    """One line for all points that are left out for the same reason, with the ids of the first."""
    alike: dict[Quarantined, list[str]] = {}
    for point in findings.quarantined_points:
        alike.setdefault(point.outcome, []).append(point.point_id.text)
    lines = []
    for outcome, ids in islice(alike.items(), QUARANTINED_SHOWN_MAX):
        named = ", ".join(ids[:LEFT_OUT_IDS_MAX])
        more = len(ids) - LEFT_OUT_IDS_MAX
        named += f" and {more:,} more" if more > 0 else ""
        where = "" if outcome.field == outcome.reason else f" {outcome.field}"
        lines.append(f"left out: {named}: {outcome.reason}{where}: {outcome.detail}")
    total, listed = sum(findings.quarantined.values()), len(findings.quarantined_points)
    if listed < total:
        lines.append(
            f"left out: {total:,} points in all, the lines above are about {listed:,} of them; "
            f"`--json --max-quarantine {total}` names all of them"
        )
    return lines


def _pace_note(result: PlanResult, settings: Settings) -> str:
    """What the minutes rest on."""
    origin = "assumed" if result.target is None else "measured just now"
    return (
        f"note: minutes at {result.figures.request_s:.2f} s a request ({origin}), a line of "
        f"{LINE_MBIT_PER_S} Mbit/s, and {settings.limits.requests_per_5min} requests in any five "
        "minutes: those are sent at once, the next when they are five minutes old"
    )


def _finding_notes(findings: PlanFindings, order_key: str) -> list[str]:
    lines: list[str] = []
    if findings.files_with_gaps:
        first = findings.gaps[0]
        lines.append(
            f"note: in {findings.files_with_gaps} files the numbers of '{order_key}' are not 0, 1, "
            "2 ..., which is as it should be where they count characters; "
            f"first '{first.file}' ({first.vectors} vectors, numbers {first.lowest} to "
            f"{first.highest})"
        )
    if findings.namespaces is not None and not findings.namespaces.fits_free_plan:
        lines.append("note: more namespaces than the free plan takes: Workers Paid is needed")
    if findings.hashed_ids:
        bound = collision_bound(findings.hashed_ids)
        lines.append(
            f"note: {findings.hashed_ids:,} ids of more than 64 bytes are replaced by a digest of "
            f"{DIGEST_BITS} bits: two of them are equal with a chance below {bound:.0e}"
        )
    for name, count in findings.long_indexed.items():
        lines.append(
            f"note: {count} values of '{name}' are longer than 64 bytes: "
            "filters see their first 64 bytes"
        )
    lines += [
        f"note: a filter on '{one.name}' finds {one.fitting:,} of {findings.vectors:,} vectors: "
        f"its metadata index holds values of type {one.declared}, the vectors hold {one.in_words()}"
        for one in findings.property_types
        if one.fitting < findings.vectors
    ]
    if findings.hash_mismatches:
        lines.append(
            f"note: {findings.hash_mismatches} vectors move with a hash that is not the one of "
            'their text; mapping.hash_mismatch = "quarantine" leaves such points behind'
        )
    return lines


def _target_notes(result: PlanResult) -> list[str]:
    state = result.target
    if state is None:
        return ["note: the target is not configured and was not read"]
    lines = []
    if state.kv_namespace_id is None:
        lines.append("note: no KV namespace is configured yet: `q2v provision` creates one")
    if state.index is None:
        return [*lines, "note: the vector index does not exist yet: `q2v provision` creates it"]
    if state.vectors_listed:
        lines.append(
            "note: the vector index is not empty: migrate wants a fresh one, or --into-non-empty"
        )
    if state.metadata_indexes_missing:
        names = ", ".join(state.metadata_indexes_missing)
        way = "`q2v provision --into-non-empty`" if state.vectors_listed else "`q2v provision`"
        lines.append(f"note: metadata indexes are missing ({names}): {way} creates them")
    return lines
