"""`q2v parity`: does search still answer the same?"""

import sys
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.errors import UsageError
from migrate.mapping.rules import shard_key_rule
from migrate.mapping.transforms.rules import ShardKeyField
from migrate.model.stamps import iso_stamp
from migrate.run.choose.find import find_run, find_snapshot
from migrate.run.choose.matching import check_same_target
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.local_folder import local_file
from migrate.words import counted
from migrate.workers.executors import Machines
from q2v import wiring
from q2v.executors.options import choose_executor, executor_options
from q2v.invocation import Place
from q2v.options import SEAL, TARGET, folder_option, json_option, takes
from q2v.output.advice import advise
from q2v.output.progress import open_progress
from q2v.output.render import Cell, render
from q2v.rules.required import refuse_flags
from q2v.rules.scope import own_index
from q2v.settings import Settings
from reconcile.parity import record
from reconcile.parity.parity import (
    ParityReport,
    ParityRules,
    measure_index,
    measure_snapshot,
    rules_for,
)
from reconcile.parity.queries import QUERIES_MAX, NamedQueries, read_queries, sample_stored
from reconcile.parity.summary import Kept
from reconcile.parity.tasks import FileRule, file_rule

SAMPLE_DEFAULT = 400  # queries: the mean overlap is then known within about 0.02
TOP_DEFAULT = 10
INDEX_OVERLAP_MIN = 0.9  # of the index with exact search at its own width
_MAPPING = ("mapping.group_key", "mapping.group_type", "mapping.transform")


class Flags(TypedDict):
    """What the operator typed."""

    path: Path | None
    live: bool
    at: tuple[int, ...]
    queries: Path | None
    sample: int
    seed: int
    top: int
    min_overlap: float | None
    executor: str
    scheduler: str | None
    folder: Place
    as_json: bool


@takes("source.vector_name", *_MAPPING, *TARGET, "limits.reads_in_flight", SEAL)
@click.command("parity")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--live", is_flag=True, help="Ask the vector index of a run too; PATH is the run.")
@click.option(
    "--at",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="WIDTH",
    help="Dimensions to measure; may be repeated.  [default: halves, and those of the index]",
)
@click.option(
    "--queries",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Vectors to search for, as numpy.save writes them, at the whole width.  "
    "[default: a sample of the stored ones]",
)
@click.option(
    "--sample",
    type=click.IntRange(1, QUERIES_MAX),
    default=SAMPLE_DEFAULT,
    show_default=True,
    metavar="N",
    help="Size of that sample.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the sample.")
@click.option(
    "--top",
    type=click.IntRange(1, 100),
    default=TOP_DEFAULT,
    show_default=True,
    metavar="K",
    help="Places of an answer that the application shows.",
)
@click.option(
    "--min-overlap",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Mean share of them that must be kept, at the smallest width or by the index.  "
    "[default: nothing is judged; with --live 0.9]",
)
@executor_options
@folder_option
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Measure how much of the source's search answers fewer dimensions keep.

    Searches the snapshot at PATH (default: the newest) exactly, at its whole width and at smaller
    ones, for the same queries. With --live the vector index of a run is asked as well, one request
    a query, and judged against exact search over the same vectors. Writes to no store; the figures
    are kept beside what was measured, for `q2v plan` and `q2v gate`.
    """
    if flags["live"]:
        refuse_flags(settings, ("source.vector_name",), why="with --live: the run names the vector")
    else:
        refuse_flags(settings, TARGET, why="without --live")
        if flags["min_overlap"] is not None and not flags["at"]:
            raise UsageError(
                "--min-overlap: found no width that it is about, expected one",
                remedy="name the width with --at, or ask the index with --live",
            )
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    executor = choose_executor(flags["executor"], flags["scheduler"], directory)
    key = wiring.seal_key(settings)
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        runtime = Runtime(
            clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
        )
        machines = stack.enter_context(executor.machines(progress.say))
        if flags["live"]:
            target = stack.enter_context(
                wiring.open_target(settings, directory, clock=clock, progress=progress)
            )
            stack.enter_context(wiring.lock_folder(directory, settings))
            named = wiring.open_named(directory, flags["path"])
            run = find_run(directory, named, key, own=own_index(settings))
            stack.callback(run.close)
            check_same_target(run, target)
            folder = record.make_folder(run)
            snapshot, values = run.snapshot, run.plan.values
            executor.check_reached(snapshot.folder)
            rules = _rules(snapshot, values.vector_name, flags)
            mapping = run.plan.mapping
            rule = _key_field(mapping.shard_key_rule)
            queries = _queries(
                snapshot,
                rules,
                file_rule(mapping, rule),
                flags,
                excluded=run.excluded_rows(),
                machines=machines,
            )
            report = measure_index(run, target.vectors, queries, rules, runtime, machines=machines)
        else:
            snapshot = find_snapshot(directory, wiring.open_named(directory, flags["path"]), key)
            executor.check_reached(snapshot.folder)
            run, folder = None, record.make_folder(snapshot)
            rules = _rules(snapshot, settings.source.vector_name, flags)
            rule = _key_field(shard_key_rule(settings.mapping.transform))
            queries = _queries(
                snapshot,
                rules,
                file_rule(settings.mapping, rule),
                flags,
                excluded=frozenset(),
                machines=machines,
            )
            report = measure_snapshot(snapshot, queries, rules, runtime, machines=machines)
        fields = record.document(report, snapshot, run, queries, at=iso_stamp(clock.wall_s()))
        kept_in = record.keep(folder, fields, snapshot)
    show(report, {**fields, "record": str(kept_in)}, as_json=flags["as_json"])
    ctx.exit(report.exit_code)


def _rules(snapshot: Snapshot, vector_name: str, flags: Flags) -> ParityRules:
    least = flags["min_overlap"]
    return rules_for(
        snapshot,
        vector_name,
        flags["at"],
        top=flags["top"],
        overlap_min=INDEX_OVERLAP_MIN if least is None and flags["live"] else least,
        seed=flags["seed"],
    )


def _queries(
    snapshot: Snapshot,
    rules: ParityRules,
    rule: FileRule,
    flags: Flags,
    *,
    excluded: AbstractSet[int],
    machines: Machines | None,
) -> NamedQueries:
    if flags["queries"] is not None:
        return read_queries(local_file(flags["queries"]), rules.dimensions)
    return sample_stored(
        snapshot,
        rules.vector_name,
        rule,
        excluded,
        sample=flags["sample"],
        seed=flags["seed"],
        machines=machines,
    )


def _key_field(rule: ShardKeyField | None) -> str | None:
    return None if rule is None else rule.name


def show(report: ParityReport, document: dict[str, object], *, as_json: bool) -> None:
    """The report as JSON or as lines; `document` is the record, with the address of its file."""
    rules = report.rules
    cells: list[tuple[str, Cell]] = [
        ("snapshot", str(document["snapshot_id"])),
        ("verdict", report.verdict),
        ("why", report.why),
        ("compared", f"{rules.dimensions:,} dimensions, {rules.metric}, first {rules.top}"),
    ]
    cells += [
        (f"{width:,} dimensions", _line(kept, rules.top)) for width, kept in report.curve.items()
    ]
    if report.index is not None and report.whole is not None:
        at = f"exact search at {report.index_width:,} dimensions"
        cells += [
            (f"index and {at}", _line(report.index, rules.top)),
            ("index and source", _line(report.whole, rules.top)),
        ]
    if report.strangers:
        cells.append(("answers that are no vectors of the run", report.strangers))
    cells.append(("kept in", str(document["record"])))
    render(document, cells, as_json=as_json, notes=[*_notes(report), "", _next(report)])


def _next(report: ParityReport) -> str:
    """What is done with the figures."""
    if report.verdict == "indeterminate":
        return advise("next: `q2v status` says what has to be complete first")
    if report.verdict == "fail" and report.index is None:
        return "next: choose more dimensions (mapping.dimensions), or decide that less is enough"
    if report.verdict == "fail":
        return advise("next: `q2v reconcile --full` says whether the index holds what was sent")
    if report.index is None:
        return advise("next: decide how many dimensions are enough; `q2v plan` shows these figures")
    return advise("next: `q2v gate --until TIME` takes these figures as evidence")


def _line(kept: Kept, top: int) -> str:
    return (
        f"overlap@{top} {kept.overlap.in_words()}, 10th percentile {kept.overlap.tenth:.2f}, "
        f"same first {kept.same_first.mean:.3f}, RBO {kept.rank_biased.mean:.3f}, "
        f"in the first 100 {kept.contained.mean:.3f}"
    )


def _notes(report: ParityReport) -> list[str]:
    """The worst queries and files of what is judged: the index, or the smallest width."""
    kept = report.index or next(iter(report.curve.values()), None)
    if kept is None:
        return []
    notes = ["", f"{counted(kept.queries, 'query')}; in brackets the 95 % interval of the mean"]
    for what, worst in (("query", kept.worst_queries), ("file", kept.worst_files)):
        notes += [f"worst {what}: {one.name} keeps {one.overlap:.2f}" for one in worst]
    return notes
