"""The rehearsal: the whole move into the sandbox, with an accident, a repair and a rollback.

Every step has an expectation and checks it; the first failed expectation ends the rehearsal.
"""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from migrate.errors import PreconditionError, UsageError
from migrate.mapping.payload import encode_kv_key
from migrate.plan.make import check_source
from migrate.run.folder import RunFolder, run_folders
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotReport, take_snapshot
from migrate.storage.durable import (
    folder_names,
    is_file,
    make_folder,
    remove_folder,
    write_durably,
)
from migrate.storage.folder_lock import FolderLock
from migrate.storage.id_files import read_ids
from migrate.storage.local_folder import LocalFolder
from migrate.upload.mapped import MappedRows
from migrate.upload.report import MigrateReport
from migrate.words import counted, subject
from reconcile.compare import compare
from reconcile.report.report import ReconcileReport
from rehearsal.context import INDEX, Context, Tool, first_rows
from rehearsal.corpus import build_corpus
from rehearsal.crashes import Acknowledged, kill_some
from rehearsal.edge import running_verifier
from rehearsal.evening import catch_up, cut_over, gate, go_back, restore
from rehearsal.planted_drift import Planted, plant
from rehearsal.script import NotHeldError, Script, Step, expect
from rehearsal.search import measure_search
from rehearsal.sync_service import COUNTER_BEFORE
from sandbox.faults.scenarios import FAULT_SCENARIOS
from sandbox.profile import STRICT, Profile, with_budget
from sandbox.server import RunningSandbox, running_sandbox

MARKER = ".q2v-rehearsal"
SAMPLE = 400
EARLIER_OURS, EARLIER_FOREIGN = 20, 10
VECTORS_MIN = 60  # so that the records planted at the start and at the end differ

# The behaviour of STRICT with shorter delays: the whole script takes less than a minute.
PROFILE: Profile = replace(
    STRICT,
    name="rehearsal",
    commit_delay_s=0.3,
    count_lag_s=1.0,
    foreign_watermark_after_s=0.3,
    stale_age_s=0.4,
    kv_visible_after_s=0.5,
    kv_miss_cached_s=0.5,
)
NO_BUDGET = 1_000_000_000  # requests in five minutes
SETTLED_S = 1.0  # seconds until every read shows a write


def prepare_folder(folder: Path, *, is_leftover: Callable[[str], bool]) -> None:
    """Make the folder empty: that of an earlier rehearsal is removed, any other is refused.

    `is_leftover` accepts names of files that a rehearsal leaves there when it fails early.
    Raises UsageError.
    """
    names = folder_names(folder)
    if names:
        # A rehearsal that failed before it wrote its marker has left only its crash log.
        if not is_file(folder / MARKER) and not all(map(is_leftover, names)):
            raise UsageError(
                f"{folder} holds something other than a rehearsal",
                remedy="name an empty folder with --dir",
            )
        remove_folder(folder)
    make_folder(folder)
    write_durably(folder / MARKER, b"made by q2v rehearse; removed by the next one\n")


def build_source(script: Script, folder: Path, *, chunks: int | None) -> Path:
    """Build an embedded Qdrant with `chunks` points of the corpus; return its folder."""
    with script.step("A source: real text in an embedded Qdrant") as step:
        report = build_corpus(folder / "source", chunks_max=chunks)
        step.lines += [
            f"{counted(report.files, 'file')}, {counted(report.chunks, 'chunk')} of the Python "
            "documentation,",
            f"embedded by wordllama, projected to {report.dimensions} dimensions (synthetic width)",
            f"content sha256 {report.content_sha256[:16]}...",
        ]
    return folder / "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What stands around the tool in a rehearsal, beside the sandbox."""

    scenario: str | None  # of FAULT_SCENARIOS; None: nothing fails
    with_verifier: bool = False  # contents are read through the verifier, in workerd


def rehearse(
    script: Script,
    folder: Path,
    open_tool: Callable[[RunningSandbox, float], Tool],
    runtime: Runtime,
    around: Surroundings,
    *,
    source: Path | None,
) -> None:
    """Run every step from the plan to the restored collection on an existing source.

    `source` is an embedded store that may be written to, as a sync service does; None: the source
    is only read, so there is nothing to catch up. `open_tool` gets the sandbox and the factor by
    which the scenario makes its delays longer.
    """
    scenario = around.scenario
    with ExitStack() as stack:
        # Reads of a binding are outside of the budget; the sandbox cannot tell them apart.
        profile = with_budget(PROFILE, NO_BUDGET if around.with_verifier else None)
        sandbox = stack.enter_context(
            running_sandbox(folder / "target", profile=profile, fault=scenario)
        )
        url = stack.enter_context(running_verifier(sandbox)) if around.with_verifier else None
        delays = 1.0 if scenario is None else FAULT_SCENARIOS[scenario].delays
        context = Context(
            folder,
            sandbox,
            open_tool(sandbox, delays),
            runtime,
            settled_s=delays * SETTLED_S,
            verifier_url=url,
            kills=scenario == "crashy",
        )
        context = _plan(script, context)
        context = _provision(script, context)
        snapshot = _snapshot(script, context, moving=source is not None)
        measure_search(script, context, snapshot, of_the_corpus=source is not None)
        rows = first_rows(context, snapshot)
        before = _earlier_trial(script, context, snapshot, rows)
        _migrate(script, context, snapshot, "Migrate: pre-images, vectors, KV index, counter")
        if source is not None:
            for turn, frozen in enumerate((False, True)):
                snapshot = catch_up(script, context, snapshot, source, turn=turn, frozen=frozen)
        _reconcile(script, context, snapshot, "Reconcile: everything, in full", "equal")
        planted = plant(script, context, rows)
        _find(script, context, snapshot, planted)
        _repair(script, context, snapshot, planted)
        gate(script, context, snapshot, of_the_corpus=source is not None)
        later = cut_over(script, context, snapshot)
        go_back(script, context, snapshot, before, later)
        restore(script, context, snapshot)
        if scenario is not None:
            _report_faults(script, sandbox, scenario)


def _report_faults(script: Script, sandbox: RunningSandbox, scenario: str) -> None:
    """Report the faults that struck; without one, nothing was rehearsed."""
    with script.step(f"Faults of the scenario: {scenario}") as step:
        step.lines.append(FAULT_SCENARIOS[scenario].does)
        struck = sandbox.struck()
        if struck:
            step.lines.append(
                f"in {counted(len(sandbox.requests), 'request')}: "
                + ", ".join(f"{name} {count:,}" for name, count in struck.items())
            )
        expect(bool(struck), "nothing has gone wrong: the corpus is too small")


def _plan(script: Script, context: Context) -> Context:
    with script.step("Plan: every point against every limit, nothing written") as step:
        context = replace(context, tool=_with_reduction(context, step))
        rules = context.tool.plan_rules()
        with context.tool.open_source(context.runtime) as source:
            values, findings = check_source(
                source,
                rules,
                context.snapshots,
                context.runtime,
                page_points=context.tool.page_points,
            )
        findings.check_quarantine()
        if findings.vectors < VECTORS_MIN:
            raise PreconditionError(
                f"{subject(findings.vectors, 'point', 'moves')}, a rehearsal needs {VECTORS_MIN}",
                remedy="rehearse a larger collection",
            )
        assert rules.window is not None
        figures = rules.window.estimate(findings.load(values, rules.writes))
        step.lines += [
            f"{findings.vectors:,} of {counted(findings.points, 'point')} move, into "
            f"{findings.files:,} "
            f"files; {sum(findings.quarantined.values())} are left out",
            f"{counted(figures.upload_requests, 'upload')}, {_megabytes(figures.upload_bytes)}; "
            "full "
            f"reconcile {counted(figures.list_requests + figures.content_requests, 'request')}",
            f"about {figures.window_minutes:.1f} min at {context.tool.requests_per_5min} "
            f"requests per 5 min; {figures.usd_per_month:.2f} USD a month",
        ]
    return context


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _with_reduction(context: Context, step: Step) -> Tool:
    """Show the target's limit of dimensions; choose the reduction for a source above it."""
    with context.tool.open_source(context.runtime) as source:
        vectors = source.read_collection().vectors
    rules = context.tool.plan_rules()
    try:
        rules.choose_values(vectors)
    except PreconditionError as error:
        if rules.dimensions is not None:
            raise
        step.lines += [
            f"as it is: refused. {error}",
            f"  {error.remedy}",
            "chosen: matryoshka, 1536",
        ]
        return context.tool.shortened()
    return context.tool


def _provision(script: Script, context: Context) -> Context:
    with script.step("Provision: index, metadata index, KV namespaces") as step:
        report = context.tool.provision(context.runtime)
        step.lines.append(
            f"index '{report.vector_index}' ({report.dimensions}, {report.metric}), metadata "
            f"indexes {', '.join(report.metadata_indexes) or 'none'}, "
            f"KV namespace {report.kv_namespace_id}"
        )
    return replace(context, tool=context.tool.with_namespace(report.kv_namespace_id))


def _snapshot(script: Script, context: Context, *, moving: bool) -> Snapshot:
    title = "Snapshot, while others write" if moving else "Snapshot: sealed Parquet, read twice"
    with script.step(title) as step:
        kill_some(context, step, "snapshot", *(["--moving"] if moving else []))
        report = _run_snapshot(context, moving=moving)
        step.lines += [
            f"{counted(report.points, 'point')} in {counted(report.parts, 'part')}, "
            f"{_megabytes(report.bytes)}, content root {report.content_root[:16]}...",
            f"in {report.path}",
        ]
    return Snapshot(LocalFolder(Path(report.path)))


def _run_snapshot(context: Context, *, moving: bool) -> SnapshotReport:
    """Take the snapshot. One that is sealed is the result: the kill came after its end."""
    options = replace(context.snapshot_options, moving=moving)
    with (
        FolderLock(context.snapshots),
        context.tool.open_source(context.runtime) as source,
    ):
        return take_snapshot(source, context.snapshots, options, context.runtime)


def _earlier_trial(script: Script, context: Context, snapshot: Snapshot, rows: MappedRows) -> str:
    """Plant vectors and entries of another writer, some under ids that the run will write."""
    with script.step("What an earlier trial left in the target") as step:
        store, rules = context.sandbox.store, context.tool.plan_rules()
        assert rows.values is not None
        width = rows.values.shape[1]
        ours = rows.ids[:EARLIER_OURS]
        foreign = [f"earlier-{number}" for number in range(EARLIER_FOREIGN)]
        for number, vector_id in enumerate([*ours, *foreign]):
            values = np.zeros(width, np.float32)
            values[number % width] = 1.0
            store.put_vector(INDEX, vector_id, values, {"trial": number}, "trial")
        mapping = rules.mapping
        if rows.files[0] is not None:
            key = encode_kv_key(rows.files[0], mapping)
            store.put_kv(context.namespace_id, key, b'["old"]', {"by": "trial"}, 4_000_000_000)
        store.put_kv(context.namespace_id, rules.writes.counter_key, COUNTER_BEFORE)
        step.lines.append(
            f"{counted(len(ours), 'vector')} under ids that will be written, {len(foreign)} "
            "others, one file "
            "entry, a counter"
        )
        with context.target() as target:
            try:
                context.tool.migrate(snapshot, target, context.runtime, into_non_empty=False)
            except PreconditionError as error:
                step.lines.append(f"without --into-non-empty: refused. {error}")
            else:
                raise NotHeldError("a non-empty index was written to without being asked")
        before = context.digest()
        step.lines.append(f"state of the target: {before[:16]}...")
    return before


def _migrate(script: Script, context: Context, snapshot: Snapshot, title: str) -> MigrateReport:
    with script.step(title) as step, context.target() as target:
        kill_some(context, step, "migrate", "--into-non-empty")
        acknowledged = Acknowledged(context, snapshot)
        report = context.tool.migrate(snapshot, target, context.runtime, into_non_empty=True)
        acknowledged.check_not_sent_again(step)
        step.lines += [
            f"run {report.run_id}: {counted(report.acknowledged, 'vector')}, "
            f"{report.kv_entries:,} KV entries, counter {report.counter}, "
            f"{counted(report.requests, 'request')}",
            f"processed: {report.evidence}",
        ]
        quarantined = sum(report.quarantined.values())
        expect(
            report.acknowledged + quarantined == report.points,
            f"{report.acknowledged} acknowledged and {quarantined} quarantined of {report.points}",
        )
    return report


def _newest_run(snapshot: Snapshot) -> RunFolder:
    return RunFolder(run_folders(snapshot)[-1], snapshot)


def _run_reconcile(
    context: Context, snapshot: Snapshot, *, sample: bool = False
) -> ReconcileReport:
    with (
        FolderLock(context.snapshots),
        closing(_newest_run(snapshot)) as run_folder,
        context.target() as target,
        context.tool.open_source(context.runtime) as source,
        context.verifier() as verifier,
    ):
        rules = context.tool.reconcile_rules(run_folder.plan)
        if sample:
            rules = replace(rules, content_full_max=0, content_sample=SAMPLE)
        report = compare(run_folder, source, target, rules, context.runtime, verifier=verifier)
    coverage = report.coverage
    expect(
        verifier is None or (coverage.fell_back is None and coverage.verified > coverage.rest),
        f"the verifier was to read nearly all; read by {coverage.read_by}",
    )
    return report


def _reconcile(
    script: Script, context: Context, snapshot: Snapshot, title: str, verdict: str
) -> None:
    with script.step(title) as step:
        kill_some(context, step, "reconcile")
        report = _run_reconcile(context, snapshot)
        _tell_report(step, report)
        expect(report.verdict == verdict, f"verdict {report.verdict}, {verdict} was expected")


def _tell_report(step: Step, report: ReconcileReport) -> None:
    counts = ", ".join(f"{name} {count}" for name, count in report.counts.items())
    step.lines += [
        f"verdict: {report.verdict} ({report.why})",
        f"contents {report.coverage.contents}, {report.coverage.checked:,} read back; {counts}",
        f"read by {report.coverage.read_by}",
        f"in {report.folder}",
    ]


def _find(script: Script, context: Context, snapshot: Snapshot, planted: Planted) -> None:
    with script.step("Reconcile finds exactly those") as step:
        report = _run_reconcile(context, snapshot)
        _tell_report(step, report)
        for name, ids in planted.ids.items():
            found = set(read_ids(report.files[name]))
            expect(found == set(ids), f"{name}: found {sorted(found)}, planted {sorted(ids)}")
        expect(report.drift["counter"] == 1, "the counter was changed")
        expect(report.verdict == "drift", f"verdict {report.verdict}")


def _repair(script: Script, context: Context, snapshot: Snapshot, planted: Planted) -> None:
    with script.step("Repair: migrate again; what is extra is its owner's to remove") as step:
        for vector_id in planted.ids["extra"]:
            context.sandbox.store.remove_vector(INDEX, vector_id)
        for key in planted.ids["kv_extra"]:
            context.sandbox.store.remove_kv(context.namespace_id, key)
        with context.target() as target:
            report = context.tool.migrate(snapshot, target, context.runtime, into_non_empty=True)
        step.lines.append(
            f"round '{report.round}' of run {report.run_id}, {counted(report.requests, 'request')}"
        )
        expect(report.round == "repair", f"a repair was due, the round is {report.round}")
        checked = _run_reconcile(context, snapshot, sample=True)
        _tell_report(step, checked)
        expect(checked.verdict == "equal", f"verdict {checked.verdict}")
