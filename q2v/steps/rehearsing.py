"""The rehearsal: the whole move into the stand-in, with an accident, a repair and a way back.

Every step says what it expects and looks whether that is so; the first one that does not hold
ends the rehearsal.
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from migrate.errors import PreconditionError, UsageError
from migrate.mapping.payload import encode_kv_key
from migrate.plan.target_shape import choose_values
from migrate.ports import Progress
from migrate.run.folder import RunFolder, run_folders
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, SnapshotReport, take_snapshot
from migrate.storage.durable import (
    folder_names,
    is_file,
    make_folder,
    remove_folder,
    write_durably,
)
from migrate.storage.folder_lock import FolderLock
from migrate.storage.id_files import read_ids
from migrate.upload.mapped import MappedRows
from migrate.upload.report import MigrateReport
from q2v import wiring
from q2v.commands.secret import SecretPlace
from q2v.output.failures import is_crash_log
from q2v.output.render import format_bytes, format_count
from q2v.settings import Settings
from q2v.steps import moving, planning, provisioning
from q2v.steps.accident import Planted, plant
from q2v.steps.crashing import Acknowledged, kill_some
from q2v.steps.planning import Choices
from q2v.steps.scene import INDEX, Scene, first_rows
from q2v.steps.story import NotHeldError, Step, Story, expect
from q2v.wiring import CloudflareTarget
from reconcile.compare import DEFAULT_SEED, compare
from reconcile.report.report import ReconcileReport
from reconcile.rollback.manifest import build_manifest
from reconcile.rollback.report import RollbackReport
from reconcile.rollback.roll_back import roll_back
from sandbox.corpus import COLLECTION, build_corpus
from sandbox.faults.scenarios import BAD_DAYS
from sandbox.profile import STRICT, Profile
from sandbox.server import RunningSandbox, running_sandbox

MARKER = ".q2v-rehearsal"
TOKEN_VARIABLE = "Q2V_REHEARSAL_TOKEN"  # noqa: S105 - the name of a variable
SAMPLE = 400
EARLIER_OURS, EARLIER_FOREIGN = 20, 10
VECTORS_MIN = 60  # so that what is planted at the end is not what was planted at the start

# All of STRICT's manners, with shorter delays: the whole story fits into a minute.
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
SETTLED_S = 1.0  # after this long every read shows what was written


def prepare_folder(folder: Path) -> None:
    """An empty folder; a former rehearsal's is removed, anybody else's is refused."""
    names = folder_names(folder)
    if names:
        # A rehearsal that failed before its marker was written has left its crash log alone.
        if not is_file(folder / MARKER) and not all(map(is_crash_log, names)):
            raise UsageError(
                f"{folder} holds something else than a rehearsal",
                remedy="name an empty folder with --dir",
            )
        remove_folder(folder)
    make_folder(folder)
    write_durably(folder / MARKER, b"made by q2v rehearse; removed by the next one\n")


def prepare_source(
    story: Story, folder: Path, *, settings: Settings, live: bool, chunks: int | None
) -> Settings:
    """Settings whose source is the corpus, or the operator's own collection (read only)."""
    if live:
        return settings
    with story.step("A source: real text in an embedded Qdrant") as step:
        report = build_corpus(folder / "source", chunks_max=chunks)
        step.lines += [
            f"{format_count(report.files)} files, {format_count(report.chunks)} chunks of the "
            "Python documentation,",
            f"embedded by wordllama, projected to {report.dimensions} dimensions (synthetic width)",
            f"content sha256 {report.content_sha256[:16]}...",
        ]
    source = replace(settings.source, url=None, path=folder / "source", collection=COLLECTION)
    return replace(settings, source=source)


def run(
    story: Story, folder: Path, settings: Settings, *, bad_day: str | None, progress: Progress
) -> None:
    """The story from the plan to the last reconcile, on a source that is ready.

    `bad_day` is one of `sandbox.faults.scenarios.BAD_DAYS`; None is a good one.
    """
    with running_sandbox(folder / "target", profile=PROFILE, fault=bad_day) as sandbox:
        delays = 1.0 if bad_day is None else BAD_DAYS[bad_day].delays
        scene = Scene(
            folder,
            sandbox,
            rehearsal_settings(settings, sandbox, delays=delays),
            story.clock,
            progress,
            settled_s=delays * SETTLED_S,
            kills=bad_day == "crashy",
        )
        scene = _plan(story, scene)
        scene = _provision(story, scene)
        snapshot = _snapshot(story, scene)
        rows = first_rows(scene, snapshot)
        before = _earlier_trial(story, scene, snapshot, rows)
        _migrate(story, scene, snapshot, "Migrate: pre-images, vectors, KV index, counter")
        _reconcile(story, scene, snapshot, "Reconcile: everything, in full", "equal")
        planted = plant(story, scene, rows)
        _find(story, scene, snapshot, planted)
        _repair(story, scene, snapshot, planted)
        _roll_back(story, scene, snapshot, before)
        _migrate(story, scene, snapshot, "Migrate again: a new run")
        _reconcile(story, scene, snapshot, "Reconcile again", "equal")
        if bad_day is not None:
            _tell_of_day(story, sandbox, bad_day)


def _tell_of_day(story: Story, sandbox: RunningSandbox, bad_day: str) -> None:
    """How bad it was; a day without a single trouble has rehearsed nothing."""
    with story.step(f"How bad the day was: {bad_day}") as step:
        step.lines.append(BAD_DAYS[bad_day].does)
        struck = sandbox.struck()
        if struck:
            step.lines.append(
                f"in {format_count(len(sandbox.requests))} requests: "
                + ", ".join(f"{name} {format_count(count)}" for name, count in struck.items())
            )
        expect(bool(struck), "nothing has gone wrong: the corpus is too small")


def rehearsal_settings(settings: Settings, sandbox: RunningSandbox, *, delays: float) -> Settings:
    """The settings with the stand-in as their target, and patience for its delays."""
    target = replace(
        settings.target,
        account_id=sandbox.account_id,
        api_token=SecretPlace(
            key="target.api_token",
            kind="environment",
            place=TOKEN_VARIABLE,
            named_by="the rehearsal",
        ),
        api_base_url=sandbox.base_url,
        allow_other_host=False,
        vector_index=INDEX,
        kv_namespace_id=None,
    )
    limits = replace(
        settings.limits,
        requests_per_5min=1_200,
        poll_s=0.3,
        kv_settle_s=SETTLED_S * delays,
        settle_timeout_s=60.0 * delays,
        content_full_max=2**40,
        deadline_s=None,
    )
    return replace(settings, target=target, limits=limits)


def _plan(story: Story, scene: Scene) -> Scene:
    with story.step("Plan: every point against every limit, nothing written") as step:
        settings = _with_reduction(scene, step)
        scene = replace(scene, settings=settings)
        with wiring.open_source(
            settings, scene.snapshots, clock=scene.clock, progress=scene.progress
        ) as source:
            values, findings = planning.plan_source(
                source,
                settings,
                Choices(),
                scene.snapshots,
                clock=scene.clock,
                progress=scene.progress,
            )
        findings.check_quarantine()
        if findings.vectors < VECTORS_MIN:
            raise PreconditionError(
                f"{findings.vectors} points move, a rehearsal needs {VECTORS_MIN}",
                remedy="rehearse a larger collection",
            )
        figures = planning.figure(findings, values, settings)
        step.lines += [
            f"{format_count(findings.vectors)} of {format_count(findings.points)} points move, "
            f"into {format_count(findings.files)} files; "
            f"{sum(findings.quarantined.values())} are left out",
            f"{figures.upload_requests} uploads, {format_bytes(figures.upload_bytes)}; full "
            f"reconcile {figures.list_requests + figures.content_requests} requests",
            f"about {figures.window_minutes:.1f} min at {settings.limits.requests_per_5min} "
            f"requests per 5 min; {figures.usd_per_month:.2f} USD a month",
        ]
    return scene


def _with_reduction(scene: Scene, step: Step) -> Settings:
    """Show the limit of the target when the source is too wide, and choose the reduction."""
    settings = scene.settings
    with wiring.open_source(
        settings, scene.snapshots, clock=scene.clock, progress=scene.progress
    ) as source:
        vectors = source.read_collection().vectors
    try:
        choose_values(
            vectors,
            vector_name=settings.source.vector_name,
            dimensions=settings.mapping.dimensions,
            reduce=settings.mapping.reduce,
            allow_cast=False,
        )
    except PreconditionError as error:
        if settings.mapping.dimensions is not None:
            raise
        step.lines += [
            f"as it is: refused. {error}",
            f"  {error.remedy}",
            "chosen: matryoshka, 1536",
        ]
        mapping = replace(settings.mapping, dimensions=1536, reduce="matryoshka")
        return replace(settings, mapping=mapping)
    return settings


def _provision(story: Story, scene: Scene) -> Scene:
    with story.step("Provision: index, metadata index, KV namespaces") as step:
        report = provisioning.provision(
            scene.settings,
            scene.snapshots,
            kv_title=None,
            secrets=(),
            allow_cast=False,
            clock=scene.clock,
            progress=scene.progress,
        )
        step.lines.append(
            f"index '{report.vector_index}' ({report.dimensions}, {report.metric}), metadata "
            f"indexes {', '.join(report.metadata_indexes) or 'none'}, "
            f"KV namespace {report.kv_namespace_id}"
        )
    target = replace(scene.settings.target, kv_namespace_id=report.kv_namespace_id)
    return replace(scene, settings=replace(scene.settings, target=target))


def _snapshot(story: Story, scene: Scene) -> Snapshot:
    with story.step("Snapshot: sealed Parquet, read twice") as step:
        kill_some(scene, step, "snapshot")
        report = _run_snapshot(scene)
        step.lines += [
            f"{format_count(report.points)} points in {report.parts} parts, "
            f"{format_bytes(report.bytes)}, content root {report.content_root[:16]}...",
            f"in {report.path}",
        ]
    return Snapshot(Path(report.path))


def _run_snapshot(scene: Scene) -> SnapshotReport:
    """What is sealed already is the result: a killed one may have been killed after its end."""
    with (
        FolderLock(scene.snapshots),
        wiring.open_source(
            scene.settings, scene.snapshots, clock=scene.clock, progress=scene.progress
        ) as source,
    ):
        options = SnapshotOptions(
            page_points=scene.settings.snapshot.page_points,
            readers=wiring.source_readers(scene.settings),
            tool=wiring.TOOL,
        )
        return take_snapshot(source, scene.snapshots, options, scene.runtime)


def _earlier_trial(story: Story, scene: Scene, snapshot: Snapshot, rows: MappedRows) -> str:
    """Somebody else's vectors and entries, some of them under ids that are about to be written."""
    with story.step("What an earlier trial left in the target") as step:
        store, settings = scene.sandbox.store, scene.settings
        assert rows.values is not None
        width = rows.values.shape[1]
        ours = rows.ids[:EARLIER_OURS]
        foreign = [f"earlier-{number}" for number in range(EARLIER_FOREIGN)]
        for number, vector_id in enumerate([*ours, *foreign]):
            values = np.zeros(width, np.float32)
            values[number % width] = 1.0
            store.put_vector(INDEX, vector_id, values, {"trial": number}, "trial")
        mapping = wiring.mapping_rules(settings)
        if rows.files[0] is not None:
            key = encode_kv_key(rows.files[0], mapping)
            store.put_kv(scene.namespace_id, key, b'["old"]', {"by": "trial"}, 4_000_000_000)
        store.put_kv(scene.namespace_id, settings.kv.counter_key, b"30")
        step.lines.append(
            f"{len(ours)} vectors under ids that will be written, {len(foreign)} others, one file "
            "entry, a counter"
        )
        with scene.target() as target:
            try:
                _run_migrate(scene, snapshot, target, Choices())
            except PreconditionError as error:
                step.lines.append(f"without --into-non-empty: refused. {error}")
            else:
                raise NotHeldError("a non-empty index was written to without being asked")
        before = scene.digest()
        step.lines.append(f"state of the target: {before[:16]}...")
    return before


def _run_migrate(
    scene: Scene, snapshot: Snapshot, target: CloudflareTarget, choices: Choices
) -> MigrateReport:
    with FolderLock(scene.snapshots):
        return moving.migrate(
            snapshot,
            target,
            scene.settings,
            choices,
            scene.snapshots,
            confirm=lambda _: None,
            dry_run=False,
            clock=scene.clock,
            progress=scene.progress,
        )


def _migrate(story: Story, scene: Scene, snapshot: Snapshot, title: str) -> MigrateReport:
    with story.step(title) as step, scene.target() as target:
        kill_some(scene, step, "migrate", "--into-non-empty")
        acknowledged = Acknowledged(scene, snapshot)
        report = _run_migrate(scene, snapshot, target, Choices(into_non_empty=True))
        acknowledged.check_not_sent_again(step)
        step.lines += [
            f"run {report.run_id}: {format_count(report.acknowledged)} vectors, "
            f"{format_count(report.kv_entries)} KV entries, counter {report.counter}, "
            f"{report.requests} requests",
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


def _run_reconcile(scene: Scene, snapshot: Snapshot, *, sample: bool = False) -> ReconcileReport:
    settings = scene.settings
    with (
        FolderLock(scene.snapshots),
        closing(_newest_run(snapshot)) as run_folder,
        scene.target() as target,
        wiring.open_source(
            settings, scene.snapshots, clock=scene.clock, progress=scene.progress
        ) as source,
    ):
        seed = DEFAULT_SEED
        rules = wiring.reconcile_rules(settings, run_folder.plan, full=False, seed=seed)
        if sample:
            rules = replace(rules, content_full_max=0, content_sample=SAMPLE)
        return compare(
            run_folder,
            source,
            target,
            rules,
            scene.runtime,
        )


def _reconcile(story: Story, scene: Scene, snapshot: Snapshot, title: str, verdict: str) -> None:
    with story.step(title) as step:
        kill_some(scene, step, "reconcile")
        report = _run_reconcile(scene, snapshot)
        _tell_report(step, report)
        expect(report.verdict == verdict, f"verdict {report.verdict}, {verdict} was expected")


def _tell_report(step: Step, report: ReconcileReport) -> None:
    counts = ", ".join(f"{name} {count}" for name, count in report.counts.items())
    step.lines += [
        f"verdict: {report.verdict} ({report.why})",
        f"contents {report.coverage.contents}, {format_count(report.coverage.checked)} read back; "
        f"{counts}",
        f"in {report.folder}",
    ]


def _find(story: Story, scene: Scene, snapshot: Snapshot, planted: Planted) -> None:
    with story.step("Reconcile finds exactly those") as step:
        report = _run_reconcile(scene, snapshot)
        _tell_report(step, report)
        for name, ids in planted.ids.items():
            found = set(read_ids(Path(report.files[name])))
            expect(found == set(ids), f"{name}: found {sorted(found)}, planted {sorted(ids)}")
        expect(report.drift["counter"] == 1, "the counter was changed")
        expect(report.verdict == "drift", f"verdict {report.verdict}")


def _repair(story: Story, scene: Scene, snapshot: Snapshot, planted: Planted) -> None:
    with story.step("Repair: migrate again; what is extra is its owner's to remove") as step:
        for vector_id in planted.ids["extra"]:
            scene.sandbox.store.remove_vector(INDEX, vector_id)
        for key in planted.ids["kv_extra"]:
            scene.sandbox.store.remove_kv(scene.namespace_id, key)
        with scene.target() as target:
            report = _run_migrate(scene, snapshot, target, Choices(into_non_empty=True))
        step.lines.append(
            f"round '{report.round}' of run {report.run_id}, {report.requests} requests"
        )
        expect(report.round == "repair", f"a repair was due, the round is {report.round}")
        checked = _run_reconcile(scene, snapshot, sample=True)
        _tell_report(step, checked)
        expect(checked.verdict == "equal", f"verdict {checked.verdict}")


def _roll_back(story: Story, scene: Scene, snapshot: Snapshot, before: str) -> None:
    with story.step("Rollback --execute: the target as it was before") as step:
        kill_some(scene, step, "rollback", "--execute")
        report = _run_rollback(scene, snapshot)
        after = scene.digest()
        step.lines += [
            f"{format_count(report.vectors_deleted)} vectors deleted, {report.vectors_restored} "
            f"restored; {format_count(report.kv_deleted)} KV keys deleted, "
            f"{report.kv_restored} restored; {len(report.conflicts)} conflicts",
            f"state of the target: {after[:16]}...",
            f"in {report.manifest}",
        ]
        expect(not report.conflicts, f"conflicts: {report.conflicts[:5]}")
        expect(after == before, "the target is not what it was before")


def _run_rollback(scene: Scene, snapshot: Snapshot) -> RollbackReport:
    settings = scene.settings
    with (
        FolderLock(scene.snapshots),
        closing(_newest_run(snapshot)) as run_folder,
        scene.target() as target,
    ):
        return roll_back(
            run_folder,
            build_manifest(run_folder, requests_per_5min=settings.limits.requests_per_5min),
            target,
            wiring.undo_rules(settings),
            scene.runtime,
        )
