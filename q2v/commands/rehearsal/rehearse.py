"""`q2v rehearse`: the whole move, into the sandbox."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.errors import ExitCode, MigrationError, UsageError
from migrate.runtime import Runtime
from q2v import wiring
from q2v.commands.rehearsal.rehearsed import (
    TOKEN_VARIABLE,
    VERIFIER_KEY_VARIABLE,
    RehearsedTool,
    rehearsal_settings,
)
from q2v.options import MAPPING, SHAPE, SOURCE, UPLOADS, json_option, own_folder_option, takes
from q2v.output.failures import is_crash_log
from q2v.output.progress import open_progress, set_progress_aside
from q2v.output.render import format_duration, render, write_line
from q2v.output.screen.wrapping import terminal_width, wrapped
from q2v.rules.required import refuse_flags
from q2v.settings import Settings
from rehearsal.corpus import COLLECTION
from rehearsal.edge import VERIFIER_KEY, check_runtime
from rehearsal.script import NotHeldError, Script, Step
from rehearsal.steps import VECTORS_MIN, Surroundings, build_source, prepare_folder, rehearse
from sandbox.app import API_TOKEN
from sandbox.faults.scenarios import FAULT_SCENARIOS
from sandbox.server import RunningSandbox

# Everything takes some attempts: with these the whole stays within the budget of five minutes.
SCENARIO_CHUNKS = 1_500
CORPUS_HAS_ITS_OWN = [
    key for key in (*SOURCE, *SHAPE, *MAPPING) if key.startswith(("source.", "mapping."))
]


class Flags(TypedDict):
    """What the operator typed."""

    live: bool
    folder: Path
    chunks: int | None
    scenario: str | None
    worker: bool
    as_json: bool


@takes(
    *SOURCE,
    *SHAPE,
    *MAPPING,
    *UPLOADS,
    "kv.ttl_s",
    "target.metadata_indexes",
    "limits.reads_in_flight",
    "limits.max_quarantine",
    "snapshot.page_points",
)
@click.command("rehearse")
@click.option(
    "--live", is_flag=True, help="Rehearse the configured Qdrant collection, reading only."
)
@own_folder_option(
    "--dir",
    Path("build/rehearsal"),
    "Folder of the rehearsal; a former rehearsal in it is removed.",
)
@click.option(
    "--chunks",
    type=click.IntRange(min=VECTORS_MIN),
    help=f"Size of the corpus.  [default: 4,100 chunks; {SCENARIO_CHUNKS:,} with --fault]",
)
@click.option(
    "--fault",
    "scenario",
    type=click.Choice(list(FAULT_SCENARIOS)),
    help="Rehearse a fault scenario; sandbox/README.md says what fails in each.",
)
@click.option(
    "--worker",
    is_flag=True,
    help="Read contents through the verifier, in the real workerd; needs Node.js.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Move, prove, break, repair, roll back and restore, in a local sandbox.

    The source is an embedded Qdrant with real text, or with --live the configured collection.
    Exit code 0 means that every step held.
    """
    live, folder, scenario = flags["live"], flags["folder"], flags["scenario"]
    if not live:
        refuse_flags(settings, CORPUS_HAS_ITS_OWN, why="without --live: the corpus has its own")
    _check_together(flags)
    clock = wiring.system_clock()
    script = Script(tell=(lambda _: None) if flags["as_json"] else _Teller().tell, clock=clock)
    prepare_folder(folder, is_leftover=is_crash_log)
    error: MigrationError | NotHeldError | None = None
    started = clock.monotonic_s()
    if not live:
        settings = replace(
            settings,
            source=type(settings.source)(),
            mapping=type(settings.mapping)(),
            kv=type(settings.kv)(),
        )
    with _secrets_in_environment(), open_progress(sys.stderr, clock) as progress:
        try:
            chunks = flags["chunks"]
            if chunks is None and scenario is not None:
                chunks = SCENARIO_CHUNKS
            path = None
            if not live:
                path = build_source(script, folder, chunks=chunks)
                source = replace(settings.source, url=None, path=path, collection=COLLECTION)
                settings = replace(settings, source=source)

            def open_tool(sandbox: RunningSandbox, delays: float) -> RehearsedTool:
                return RehearsedTool(rehearsal_settings(settings, sandbox, delays), folder)

            runtime = Runtime(
                clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
            )
            around = Surroundings(scenario=scenario, with_verifier=flags["worker"])
            rehearse(script, folder, open_tool, runtime, around, source=path)
        except (MigrationError, NotHeldError) as failure:
            error = failure
    seconds = clock.monotonic_s() - started
    _show(
        script,
        folder,
        error,
        seconds,
        scenario=scenario,
        several=bool(settings.target.shards),
        as_json=flags["as_json"],
    )
    ctx.exit(_exit_code(error))


_OF_ONE_INDEX = (
    "target.shards was left out: a rehearsal moves into one vector index. The files of a move over "
    "several are divided by the same rule in `q2v plan`, which counts the vectors of each index"
)


@contextmanager
def _secrets_in_environment() -> Iterator[None]:
    """The sandbox's secrets are passed like real ones: in the environment, never by a flag."""
    secrets = {TOKEN_VARIABLE: API_TOKEN, VERIFIER_KEY_VARIABLE: VERIFIER_KEY}
    os.environ.update(secrets)
    try:
        yield
    finally:
        for name in secrets:
            os.environ.pop(name, None)


def _check_together(flags: Flags) -> None:
    """Raise UsageError for flags that exclude each other, PreconditionError without a runtime."""
    if flags["live"] and flags["chunks"] is not None:
        raise UsageError(
            "--chunks has no effect with --live: the collection has the size that it has",
            remedy="leave out --chunks or --live",
        )
    if flags["worker"] and flags["scenario"] is not None:
        raise UsageError(
            "--worker and --fault: found both, expected one",
            remedy="leave out one: what goes wrong in a scenario makes REST read on",
        )
    if flags["worker"]:
        check_runtime()


def _exit_code(error: MigrationError | NotHeldError | None) -> ExitCode:
    match error:
        case None:
            return ExitCode.DONE
        case MigrationError():
            return error.exit_code
        case NotHeldError():
            return ExitCode.DRIFT


class _Teller:
    """Number the steps as they end."""

    def __init__(self) -> None:
        self._number = 0

    def tell(self, step: Step) -> None:
        """One step on stdout, as it ends; within the width of a terminal, if it is one."""
        set_progress_aside()
        self._number += 1
        mark = "ok" if step.held else "FAILED"
        write_line(f"{self._number:2}. {step.title}  [{mark}, {format_duration(step.seconds)}]")
        columns = terminal_width(sys.stdout)
        for text in step.lines:
            if columns is None:
                write_line(f"    {text}")
                continue
            for line in wrapped(text, first="    ", then="      ", width=columns):
                write_line(line)


def _show(
    script: Script,
    folder: Path,
    error: MigrationError | NotHeldError | None,
    seconds: float,
    *,
    scenario: str | None,
    several: bool,
    as_json: bool,
) -> None:
    """`several`: the settings divide the files over several vector indexes."""
    held = sum(step.held for step in script.steps)
    notes = ["", f"{held} of {len(script.steps)} steps held, {format_duration(seconds)}"]
    if error is None:
        notes.append(f"source, snapshot, runs, reports and the sandbox's data lie in {folder}/")
        if several:
            notes.append(_OF_ONE_INDEX)
        notes += ["", "next: `q2v init` writes the settings of your own migration"]
    else:
        notes.append(f"the rehearsal stopped: {error}")
    render(
        {
            "held": error is None,
            "bad_day": scenario,
            "not_rehearsed": [_OF_ONE_INDEX] if several else [],
            "folder": folder,
            "seconds": round(seconds, 2),
            "steps": [
                {
                    "title": step.title,
                    "held": step.held,
                    "seconds": step.seconds,
                    "lines": step.lines,
                }
                for step in script.steps
            ],
        },
        [],
        as_json=as_json,
        notes=notes,
    )
