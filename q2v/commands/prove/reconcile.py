"""`q2v reconcile`: source x snapshot x vector index x KV index x counter."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.mapping.kv_entries import COUNTER_MEANING
from migrate.run.choose.find import find_run
from migrate.run.choose.matching import check_same_target, planned_target
from migrate.runtime import Runtime
from migrate.storage.id_files import read_first_ids
from migrate.words import counted
from q2v import wiring
from q2v.invocation import Place
from q2v.options import CONTENTS, SEAL, SOURCE, TARGET, VERIFIER, folder_option, json_option, takes
from q2v.output.advice import advise
from q2v.output.following import Following, following_run
from q2v.output.progress import open_progress
from q2v.output.render import Cell, render
from q2v.output.route import Route, route_from_snapshot
from q2v.rules.required import refuse_flags
from q2v.rules.scope import check_snapshot_collection, own_index, settings_of_run
from q2v.rules.stages import reconcile_rules
from q2v.settings import Settings
from reconcile.compare import DEFAULT_SEED, compare
from reconcile.naming import named_lines
from reconcile.report.report import ReconcileReport

FIRST_IDS = 3  # of each class
LINES_MAX = 10  # about what differs; the file has all

SEED_MAX = 2**53  # every JSON reader keeps integers up to here exactly


class Flags(TypedDict):
    """What the operator typed."""

    run: Path | None
    full: bool
    seed: int
    no_source: bool
    fresh: bool
    folder: Place
    as_json: bool


@takes(
    *SOURCE,
    *TARGET,
    *CONTENTS,
    *VERIFIER,
    "target.metadata_indexes",
    "limits.poll_s",
    "limits.kv_settle_s",
    "limits.reads_in_flight",
    "snapshot.page_points",
    SEAL,
)
@click.command("reconcile")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Read every content back, whatever the size.")
@click.option(
    "--seed",
    type=click.IntRange(-SEED_MAX, SEED_MAX),
    default=DEFAULT_SEED,
    show_default=True,
    help="Seed of the sample.",
)
@click.option("--no-source", is_flag=True, help="Leave the source out; the report says so.")
@click.option("--fresh", is_flag=True, help="Start over; resume no interrupted reconcile.")
@folder_option
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Compare everything RUN (default: the newest) should have made of the target with what is.

    Writes to neither store. Ids and counts in full; contents in full up to
    limits.content_full_max, beyond that a seeded sample with its bound. With --verifier a Worker
    reads contents outside of the request budget, and REST what it calls different. After a kill
    the same command resumes, for an hour.
    """
    if flags["no_source"]:
        refuse_flags(settings, (*SOURCE, "snapshot.page_points"), why="with --no-source")
    if flags["full"]:
        samples = ("limits.content_full_max", "limits.content_sample")
        refuse_flags(settings, samples, why="with --full: every content is read")
    settings = settings_of_run(settings, flags["run"])
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        verifier = stack.enter_context(
            wiring.open_verifier(settings, clock=clock, progress=progress)
        )
        source = None
        if not flags["no_source"]:
            source = stack.enter_context(
                wiring.open_source(settings, directory, clock=clock, progress=progress)
            )
        target = stack.enter_context(
            wiring.open_target(settings, directory, clock=clock, progress=progress)
        )
        stack.enter_context(wiring.lock_folder(directory, settings))
        named = wiring.open_named(directory, flags["run"])
        opened = find_run(directory, named, wiring.seal_key(settings), own=own_index(settings))
        stack.callback(opened.close)
        check_snapshot_collection(opened.snapshot, settings)
        check_same_target(opened, target)
        report = compare(
            opened,
            source,
            target,
            reconcile_rules(settings, opened.plan, full=flags["full"], seed=flags["seed"]),
            Runtime(
                clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
            ),
            fresh=flags["fresh"],
            verifier=verifier,
        )
        route = route_from_snapshot(opened.snapshot, planned_target(opened), clock)
        following = following_run(opened, settings)
    show(report, route, following, as_json=flags["as_json"])
    ctx.exit(report.exit_code)


def show(report: ReconcileReport, route: Route, following: Following, *, as_json: bool) -> None:
    """The report as JSON or as lines."""
    document = {**report.document(), "route": route.document()}
    coverage = report.coverage
    checked = f"{coverage.checked:,} of {counted(coverage.vectors, 'vector')} read back"
    if coverage.contents == "sampled":
        checked += f" (sampled, seed {coverage.seed}): at most {coverage.bound:.3%} of all differ"
    cells: list[tuple[str, Cell]] = [
        ("run", report.run_id),
        *route.cells(),
        ("verdict", report.verdict),
        ("why", report.why),
        ("ids", "compared in full"),
        ("contents", checked),
        ("read by", coverage.read_by),
    ]
    if report.unread:
        cells.append(("not read to its end", ", ".join(report.unread)))
    if report.resumed:
        cells.append(("resumed", f"{counted(report.resumed, 'time')}, begun {report.started_at}"))
    if report.other_runs:
        cells.append(("other runs in the target", ", ".join(report.other_runs)))
        cells.append(("written by them too", report.shared))
    if report.abandoned:
        cells.append(("never finished", ", ".join(report.abandoned)))
    cells += [(f"count: {name}", count) for name, count in report.counts.items()]
    cells.append(("what kv_counter counts", COUNTER_MEANING))
    cells += list(_drift_cells(report))
    cells += [("report", str(document["html"])), ("rollback manifest", report.rollback_manifest)]
    indexes = report.metadata_indexes or ()
    cells += [("metadata index", advise(index.in_words())) for index in indexes]
    lines = [f"differs: {line}" for line in named_lines(report.differs)[:LINES_MAX]]
    if len(report.differs) > LINES_MAX:
        lines.append(f"differs: and {len(report.differs) - LINES_MAX} more")
    if lines:
        lines.append(f"differs: all in {document['differs_file']}")
    document |= following.document()
    render(document, cells, as_json=as_json, notes=[*lines, *following.notes()])


def _drift_cells(report: ReconcileReport) -> Iterator[tuple[str, Cell]]:
    """For each class that was found: how many, the first of them, and the file with all."""
    source = {f"source_{name}": count for name, count in (report.source_drift or {}).items()}
    for name, count in (report.drift | source).items():
        if not count:
            continue
        file = report.files.get(name)
        first = [] if file is None else read_first_ids(file, FIRST_IDS)
        shown = ", ".join(first)
        if file is not None and count > len(first):
            shown += f" and {count - len(first):,} more in {file.name}"
        yield f"drift: {name}", f"{count:,}: {shown}" if shown else f"{count:,}"
