"""`q2v gate`: go or no-go, as a table of evidence."""

import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict, Unpack
from uuid import UUID

import click

from migrate.errors import UsageError
from migrate.model.stamps import iso_stamp, parse_moment
from migrate.ports import Clock
from migrate.run.choose.find import find_run
from migrate.run.choose.matching import check_same_target, planned_target
from migrate.runtime import Runtime
from migrate.storage.layout import GATE
from q2v import wiring
from q2v.invocation import Place
from q2v.options import SEAL, TARGET, folder_option, json_option, takes
from q2v.output.advice import advise
from q2v.output.following import Following, following_run
from q2v.output.progress import open_progress
from q2v.output.render import Cell, format_duration, render, write_line, write_texts
from q2v.output.route import Route, route_from_snapshot
from q2v.output.screen.table import TableRow, write_table
from q2v.rules.required import refuse_flags
from q2v.rules.scope import own_index, settings_of_run
from q2v.rules.stages import wanted_indexes
from q2v.settings import Settings
from reconcile.gate.criteria import AGE_MAX_S_DEFAULT, OF_THE_OPERATOR, Row
from reconcile.gate.gate import GateReport, GateRules, decide
from reconcile.rollback.chain import open_chain

# So long after its end a window typed as HH:MM is still that of this evening.
_PASSED_S = 6 * 3600.0


class Flags(TypedDict):
    """What the operator typed."""

    run: Path | None
    until: str | None
    worker_version: str | None
    max_age: int
    recorded: bool
    folder: Place
    as_json: bool


def _check_version(_: click.Context, __: click.Parameter, version: str | None) -> str | None:
    """Raises BadParameter for a text that is no id of a version."""
    try:
        return None if version is None else str(UUID(version))
    except ValueError as error:
        raise click.BadParameter(
            f"{version!r}: expected the id of a version, as `wrangler deployments list` shows it"
        ) from error


@takes("source.api_key", *TARGET, "target.metadata_indexes", "limits.poll_s", SEAL)
@click.command("gate")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--until",
    metavar="TIME",
    help="End of the window: 23:30 (UTC; one of the last six hours has passed, otherwise the next "
    "one) or 2036-01-31T23:30+00:00.",
)
@click.option(
    "--worker-version",
    metavar="VERSION",
    callback=_check_version,
    help="Id of the Worker's version that runs now, to be deployed again on the way back.",
)
@click.option(
    "--max-age",
    type=click.IntRange(min=1),
    default=round(AGE_MAX_S_DEFAULT / 60),
    show_default=True,
    metavar="MINUTES",
    help="Older evidence is stale.",
)
@click.option(
    "--recorded",
    is_flag=True,
    help="Read no part and ask nothing; take these rows from the newest gate, with their age.",
)
@folder_option
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Say go or no-go for the cutover of RUN (default: the newest), with the evidence of each row.

    Reads the snapshots, the run and its newest reconcile, and asks the target about 30 requests.
    Writes to no store. Exit code 0 only for go.
    """
    if flags["recorded"]:
        refuse_flags(settings, (*TARGET, "limits.poll_s"), why="with --recorded: nothing is asked")
    settings = settings_of_run(settings, flags["run"])
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    until_s = _until(flags["until"], clock)
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        target = None
        if not flags["recorded"]:
            target = stack.enter_context(
                wiring.open_target(settings, directory, clock=clock, progress=progress)
            )
        stack.enter_context(wiring.lock_folder(directory, settings))
        named = wiring.open_named(directory, flags["run"])
        opened = find_run(directory, named, wiring.seal_key(settings), own=own_index(settings))
        stack.callback(opened.close)
        if target is not None:
            check_same_target(opened, target)
        chain = stack.enter_context(open_chain(opened))
        rules = GateRules(
            until_s=until_s,
            age_max_s=flags["max_age"] * 60.0,
            worker_version=flags["worker_version"],
            indexes=wanted_indexes(opened.plan, settings),
            requests_per_5min=settings.limits.requests_per_5min,
            pause_s=settings.limits.poll_s,
            key_notes=()
            if target is None
            else wiring.key_notes(settings, opened.snapshot.manifest.collection),
        )
        report = decide(
            chain,
            None if target is None else (target, target.http),
            rules,
            Runtime(clock=clock, progress=progress),
        )
        route = route_from_snapshot(opened.snapshot, planned_target(opened), clock)
        following = following_run(opened, settings)
    show(report, route, following, as_json=flags["as_json"])
    ctx.exit(report.exit_code)


def _until(typed: str | None, clock: Clock) -> float | None:
    if typed is None:
        return None
    try:
        return parse_moment(typed, now_s=clock.wall_s(), past_s=_PASSED_S)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--until {typed}: expected 23:30 (UTC) or a time with its zone",
            remedy=f"write it as {iso_stamp(clock.wall_s() + 3600)}",
        ) from error


def show(report: GateReport, route: Route, following: Following, *, as_json: bool) -> None:
    """The gate as JSON; or the verdict, a table of the rows, and what only a person can do."""
    document = {
        **report.document(),
        "record": str(report.file),
        "route": route.document(),
        **following.document(),
    }
    cells: list[tuple[str, Cell]] = [
        ("verdict", _verdict(report)),
        ("run", report.run_id),
        *route.cells(),
        ("kept in", str(report.file)),
    ]
    render(document, cells, as_json=as_json)
    if as_json:
        return
    write_line("")
    write_table([_table_row(row, _run_folder(report)) for row in report.rows])
    notes = ["", "Only you can see or do these:"]
    write_texts(notes)
    write_table([TableRow(mark="-", name="", text=advise(task)) for task in OF_THE_OPERATOR])
    notes = []
    if report.worker_version is not None:
        version = report.worker_version
        notes = ["", f"the way back deploys version {version} of the Worker again"]
    write_texts([*notes, *following.notes()])


def _verdict(report: GateReport) -> str:
    """Go or no-go, and how many rows stand against it."""
    counts = Counter(row.verdict for row in report.rows if row.verdict != "pass")
    against = ", ".join(f"{count} {mark}" for mark, count in counts.items())
    return f"{report.verdict} ({against})" if against else report.verdict


def _run_folder(report: GateReport) -> str:
    """The address of the run, which is that of most of the evidence."""
    return str(report.file).rpartition(f"/{GATE}/")[0]


def _table_row(row: Row, run: str) -> TableRow:
    """A place in the folder of the run is named within it."""
    age = "" if row.age_s is None else f", {format_duration(max(0.0, row.age_s))} old"
    place = "" if row.evidence is None else row.evidence.place.removeprefix(f"{run}/")
    where = f" [{place}{age}]" if place else ""
    return TableRow(
        mark=row.verdict,
        name=row.criterion.word,
        text=f"{row.found}{where}",
        advice=advise(row.do) if row.do else "",
    )
