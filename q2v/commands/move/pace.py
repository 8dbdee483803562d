"""`q2v pace`: slow down or pause the commands that run, from another shell."""

import click

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.errors import UsageError
from migrate.model.stamps import clock_stamp
from migrate.storage.durable import is_folder
from q2v import wiring
from q2v.invocation import Place, current_invocation
from q2v.options import folder_option, json_option, takes
from q2v.output.render import Cell, format_about, render
from q2v.settings import Settings

MINUTES_DEFAULT, MINUTES_MAX = 30, 1_440


@takes("limits.requests_per_5min")
@click.command("pace")
@click.option("--pause", is_flag=True, help="Send nothing for that time.")
@click.option("--at-most", type=click.IntRange(min=0), metavar="REQUESTS", help="In five minutes.")
@click.option("--resume", is_flag=True, help="End it: the setting counts again.")
@click.option(
    "--minutes",
    type=click.IntRange(1, MINUTES_MAX),
    help=f"How long it lasts.  [default: {MINUTES_DEFAULT}]",
)
@folder_option
@json_option
def command(
    *,
    pause: bool,
    at_most: int | None,
    resume: bool,
    minutes: int | None,
    folder: Place,
    as_json: bool,
    settings: Settings,
) -> None:
    """Say, or change for a while, how many requests all commands with this --dir or --budget send.

    A command that runs follows within seconds, and so does one that is started later. It cannot be
    more than limits.requests_per_5min. A command that may send nothing for an hour ends with exit
    code 8, and resumes when it is run again.
    """
    if sum((pause, at_most is not None, resume)) > 1:
        raise UsageError(
            "found several of --pause, --at-most and --resume, expected one", remedy="pass one"
        )
    sets = pause or at_most is not None
    if minutes is not None and not sets:
        raise UsageError(
            "--minutes: found neither --pause nor --at-most, expected one of them",
            remedy="say what is to last that long, or leave --minutes out",
        )
    clock, allowed = wiring.system_clock(), settings.limits.requests_per_5min
    directory = wiring.open_folder(folder)
    is_used = is_folder(wiring.budget_file(directory).parent)
    pace = None
    if is_used or sets:  # else no command has worked here, and none is made to look as if
        budget = RequestBudget(wiring.budget_file(directory), clock=clock, requests_max=allowed)
        if sets:
            budget.set_pace(0 if pause else at_most or 0, (minutes or MINUTES_DEFAULT) * 60)
        elif resume:
            budget.set_pace(allowed, 0)
        pace = budget.pace()
    notes = [] if is_used else [_unused_note(current_invocation().budget or folder)]
    requests, left_s = pace or (allowed, None)
    until = None if left_s is None else f"{clock_stamp(clock.wall_s() + left_s)} UTC"
    cells: list[tuple[str, Cell]] = [
        ("requests in five minutes", requests or "none: paused"),
        ("until", "-" if left_s is None else f"{until}, for {format_about(left_s)}"),
        ("then", f"{allowed:,} (limits.requests_per_5min)"),
    ]
    document = {
        "requests_per_5min": requests,
        "left_s": left_s,
        "configured": allowed,
        "folder_used": is_used,
    }
    render(document, cells, as_json=as_json, notes=notes)


def _unused_note(folder: Place) -> str:
    """A pace for another folder than the one of the running command changes nothing there."""
    return (
        f"no command has sent a request in {folder} yet: name the folder of the command that runs "
        "with --dir, or its budget with --budget"
    )
