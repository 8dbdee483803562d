"""`q2v monitor`: do the parts of the target agree with each other?"""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.run.choose.find import find_run
from migrate.run.choose.matching import check_same_target
from migrate.runtime import Runtime
from migrate.words import counted
from q2v import wiring
from q2v.invocation import Place
from q2v.options import SEAL, TARGET, folder_option, json_option, takes
from q2v.output.advice import advise
from q2v.output.progress import open_progress
from q2v.output.render import Cell, encode_document, render
from q2v.rules.scope import own_index, settings_of_run
from q2v.rules.stages import wanted_indexes
from q2v.settings import Settings
from q2v.watching.programs import check_program, run_program
from reconcile.monitor.history import Looked, read_history, sparkline
from reconcile.monitor.look import LookRules
from reconcile.monitor.monitor import CLASSES, DROP_SHARE_DEFAULT, MonitorReport, monitor

SAMPLE_DEFAULT = 100
LOOKS_SHOWN = 10
NEXT = {
    "inconsistent": "do what RUNBOOK: monitor says of each class, most often let the sync service "
    "write the files again; then run `q2v monitor` again",
    "indeterminate": "run `q2v monitor` again; if it lasts, read the service's status page",
}


class Flags(TypedDict):
    """What the operator typed."""

    run: Path | None
    sample: int
    max_drop: float
    on_alert: str | None
    folder: Place
    as_json: bool


@takes(
    *TARGET,
    "target.metadata_indexes",
    "kv.ttl_s",
    "limits.kv_settle_s",
    "limits.reads_in_flight",
    SEAL,
)
@click.command("monitor")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=SAMPLE_DEFAULT,
    show_default=True,
    metavar="VECTORS",
    help="Vectors whose contents are read; others each time.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=DROP_SHARE_DEFAULT,
    show_default=True,
    metavar="SHARE",
    help="Share of the vectors that may be gone since the look before.",
)
@click.option(
    "--on-alert",
    metavar="PROGRAM",
    help="Program to start when the exit code is not 0, with the JSON document on its input.",
)
@folder_option
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Look once at the target of RUN (default: the newest), after the cutover.

    Compares vectors, KV index, counter, metadata indexes and a sample of contents with each other;
    Qdrant is not read. New, changed and deleted files are normal. Writes to no store. Exit code 0:
    consistent; 4: not; 13: not everything could be read.
    """
    argv = check_program(flags["on_alert"], flag="--on-alert")
    settings = settings_of_run(settings, flags["run"])
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        target = stack.enter_context(
            wiring.open_target(settings, directory, clock=clock, progress=progress)
        )
        stack.enter_context(wiring.lock_folder(directory, settings))
        named = wiring.open_named(directory, flags["run"])
        opened = find_run(directory, named, wiring.seal_key(settings), own=own_index(settings))
        stack.callback(opened.close)
        check_same_target(opened, target)
        report = monitor(
            opened,
            target,
            LookRules(
                indexes=wanted_indexes(opened.plan, settings),
                ttl_s=settings.kv.ttl_s,
                sample=flags["sample"],
                seed=len(read_history(opened)),
                settle_s=settings.limits.kv_settle_s,
            ),
            Runtime(
                clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
            ),
            max_drop=flags["max_drop"],
        )
    show(report, as_json=flags["as_json"])
    if argv and report.exit_code:
        run_program(argv, encode_document(report.document()))
    ctx.exit(report.exit_code)


def show(report: MonitorReport, *, as_json: bool) -> None:
    """The look and the trend as lines, or the look as one line of JSON."""
    looked, document = report.looked, report.document()
    cells: list[tuple[str, Cell]] = [
        ("run", report.run_id),
        ("look", f"{len(report.history)}, at {looked.at}"),
        ("verdict", looked.verdict),
        ("why", looked.why),
        ("vectors", looked.vectors),
        ("files", looked.files),
        ("counter", looked.counter),
        ("contents", f"{looked.sampled} read, {looked.as_moved} of them as they were moved"),
    ]
    cells += [(name, f"{looked.findings[name]}: {CLASSES[name]}") for name in looked.findings]
    cells += [(f"file: {name}", file) for name, file in report.files.items()]
    vectors = [one.vectors for one in report.history]
    notes = ["", f"vectors  {sparkline(vectors)}", *map(_line, report.history[-LOOKS_SHOWN:])]
    if looked.verdict in NEXT:
        notes += ["", f"next: {advise(NEXT[looked.verdict])}"]
    render(document, cells, as_json=as_json, notes=notes)


def _line(looked: Looked) -> str:
    counts = (
        "-"
        if looked.vectors is None
        else f"{counted(looked.vectors, 'vector')}, {counted(looked.files or 0, 'file')}"
    )
    return f"{looked.at}  {looked.verdict:<13}  {counts}"
