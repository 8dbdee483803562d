"""`q2v runbook`: the runbook of this migration, with its names, counts and minutes."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.errors import UsageError
from migrate.model.stamps import iso_stamp, parse_moment
from migrate.ports import Clock
from migrate.runtime import Runtime
from migrate.snapshot.folder import sealed_folders
from migrate.storage.folder import WorkFolder
from migrate.storage.local_folder import local_file
from migrate.words import counted
from q2v import wiring
from q2v.commands.prepare.plan.gathering import PlanResult, gather
from q2v.executors.options import ChosenExecutor, choose_executor, executor_options
from q2v.invocation import Place, current_invocation
from q2v.options import PLANNING, SEAL, SOURCE, TARGET, folder_option, json_option, takes
from q2v.output.advice import Named, complete
from q2v.output.named_files import Kind, check_result_file, only_writer
from q2v.output.progress import open_progress
from q2v.output.render import render, write_line
from q2v.rules.stages import Choices, plan_rules
from q2v.runbook.figures import Figures, Names, figures_of, together
from q2v.runbook.page import EACH_INDEX, Evening, page
from q2v.settings import Settings

_KIND = Kind("a runbook of q2v", (b"For the operator, in the order of the evening.",))


class Flags(TypedDict):
    """What the operator typed."""

    snapshot: Path | None
    at: str | None
    until: str | None
    out: Path | None
    executor: str
    scheduler: str | None
    folder: Place
    as_json: bool


@takes(*SOURCE, *TARGET, *PLANNING, "snapshot.page_points", SEAL)
@click.command("runbook")
@click.argument("snapshot", required=False, type=click.Path(path_type=Path))
@click.option("--at", metavar="TIME", help="When the freeze begins: 2036-01-31T20:00+00:00.")
@click.option("--until", metavar="TIME", help="When the window ends, as for `q2v gate`.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, in place of the output; an earlier runbook is replaced, no other file.",
)
@executor_options
@folder_option
@json_option
def command(settings: Settings, **flags: Unpack[Flags]) -> None:
    """Write the runbook of this migration as Markdown: timeline, steps, way back, messages.

    Of a move over several vector indexes it is about all of them, unless one is named.
    Counts come from SNAPSHOT (default: the newest, or else the source), minutes from the plan at
    the pace that is measured at the target. Writes to no store.
    """
    out, folder = flags["out"], flags["folder"]
    if out is not None:
        check_result_file(out, flag="--out", kind=_KIND)
    directory, clock = wiring.open_folder(folder), wiring.system_clock()
    executor = choose_executor(flags["executor"], flags["scheduler"], directory)
    evening = _evening(flags["at"], flags["until"], clock)
    with open_progress(sys.stderr, clock) as progress:
        runtime = Runtime(
            clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
        )
        named = wiring.open_named(directory, flags["snapshot"])
        newest = sealed_folders(directory)[-1:]
        read = named if named is not None else newest[0] if newest else None
        results = [
            (index, _gather(one, directory, runtime, read, executor))
            for index, one in _each(settings)
        ]
    text = _page(results, evening, settings, folder)
    if out is not None:
        with only_writer(out):
            local_file(out).write(text.encode())
    if flags["as_json"]:
        render({"runbook": str(out) if out else text}, [], as_json=True)
    elif out is not None:
        write_line(f"written: {out}")
        write_line(f"next: read {out} from its first step on, before the window begins")
    else:
        for line in text.splitlines():
            write_line(line)


def _each(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """The vector index that is named, or each of several, with the settings for it."""
    target = settings.target
    if target.vector_index is not None or not target.shards:
        yield target.vector_index or "(not configured)", settings
        return
    for index in target.shards:
        yield index, replace(settings, target=replace(target, vector_index=index))


def _gather(
    settings: Settings,
    directory: WorkFolder,
    runtime: Runtime,
    read: WorkFolder | None,
    executor: ChosenExecutor,
) -> PlanResult:
    rules = plan_rules(settings, Choices(allow_cast=True, allow_empty=True))
    return gather(settings, rules, directory, runtime, read, executor=executor)[0]


def _evening(at: str | None, until: str | None, clock: Clock) -> Evening:
    if at is None and until is not None:
        raise UsageError(
            "--until: this has no effect without --at", remedy="name the begin of the freeze too"
        )
    moments = {
        flag: None if typed is None else _moment(flag, typed, clock)
        for flag, typed in (("--at", at), ("--until", until))
    }
    return Evening(freeze=moments["--at"], until=moments["--until"])


def _moment(flag: str, typed: str, clock: Clock) -> datetime:
    try:
        return datetime.fromtimestamp(parse_moment(typed, now_s=clock.wall_s()), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"{flag} {typed}: expected 20:00 (UTC) or a time with its zone",
            remedy=f"write it as {iso_stamp(clock.wall_s() + 7 * 86_400)}",
        ) from error


def _page(
    results: Sequence[tuple[str, PlanResult]],
    evening: Evening,
    settings: Settings,
    folder: Place,
) -> str:
    """Of one vector index, or of several."""
    parts = [(index, _figures(result, settings)) for index, result in results]
    (first, result), *others = results
    route, indexes = result.route, tuple(index for index, _ in results if others)
    names = Names(
        collection=route.collection,
        source=route.source,
        vector_index=EACH_INDEX if indexes else first,
        kv_namespace=route.target.kv_namespace,
        account=route.target.account,
        folder=str(folder),
        filter=route.filter,
        indexes=indexes,
    )
    figures = together(parts) if indexes else parts[0][1]
    config = current_invocation().config
    named = Named(index=EACH_INDEX if indexes else None)

    def completed(text: str) -> str:
        """Commands with the folder and the settings of this one."""
        return complete(text, str(folder), settings, config, named)

    title = f"Runbook: {route.collection} to {', '.join(indexes) or first}"
    return page(title, names, figures, evening, completed)


def _figures(result: PlanResult, settings: Settings) -> Figures:
    values, findings, snapshot_id = result.values, result.findings, result.route.snapshot_id
    measured = "assumed" if result.target is None else "measured"
    origin = "the source" if snapshot_id is None else f"snapshot {snapshot_id}"
    return figures_of(
        result.figures,
        points=findings.points,
        quarantined=sum(findings.quarantined.values()),
        source_dimensions=values.source_dimensions,
        dimensions=values.dimensions,
        basis=f"{origin}, {counted(settings.limits.requests_per_5min, 'request')} in five minutes, "
        f"{result.figures.request_s:.2f} s a request ({measured}), 100 Mbit/s, and 2 min "
        "until the index shows what was written",
    )
