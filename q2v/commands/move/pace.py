"""`q2v pace`: slow down or pause the commands that run, from another shell."""

from pathlib import Path

import click

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.errors import UsageError
from migrate.model.stamps import clock_stamp
from q2v import wiring
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
    default=MINUTES_DEFAULT,
    show_default=True,
    help="How long it lasts.",
)
@folder_option
@json_option
def command(
    *,
    pause: bool,
    at_most: int | None,
    resume: bool,
    minutes: int,
    folder: Path,
    as_json: bool,
    settings: Settings,
) -> None:
    """Say, or change for a while, how many requests all commands with this --dir send.

    A command that runs follows within seconds, and so does one that is started later. It cannot be
    more than limits.requests_per_5min. A command that may send nothing for an hour ends with exit
    code 8, and resumes when it is run again.
    """
    if sum((pause, at_most is not None, resume)) > 1:
        raise UsageError(
            "found several of --pause, --at-most and --resume, expected one", remedy="pass one"
        )
    clock, allowed = wiring.system_clock(), settings.limits.requests_per_5min
    budget = RequestBudget(
        wiring.budget_file(wiring.open_folder(folder)), clock=clock, requests_max=allowed
    )
    if pause or at_most is not None:
        budget.set_pace(0 if pause else at_most or 0, minutes * 60)
    elif resume:
        budget.set_pace(allowed, 0)
    pace = budget.pace()
    requests, left_s = pace or (allowed, None)
    until = None if left_s is None else f"{clock_stamp(clock.wall_s() + left_s)} UTC"
    cells: list[tuple[str, Cell]] = [
        ("requests in five minutes", requests or "none: paused"),
        ("until", "-" if left_s is None else f"{until}, for {format_about(left_s)}"),
        ("then", f"{allowed:,} (limits.requests_per_5min)"),
    ]
    document = {"requests_per_5min": requests, "left_s": left_s, "configured": allowed}
    render(document, cells, as_json=as_json)
