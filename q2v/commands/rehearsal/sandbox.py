"""`q2v sandbox`: serve the sandbox for the target on loopback until stopped."""

from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.errors import UsageError
from q2v.options import own_folder_option
from sandbox.app import ACCOUNT_ID, API_TOKEN
from sandbox.database import StateFolderError
from sandbox.faults.scenarios import FAULT_SCENARIOS
from sandbox.profile import PROFILES, with_budget
from sandbox.server import PortError, serve


class Flags(TypedDict):
    """What the operator typed."""

    port: int
    folder: Path
    account_id: str
    token: str
    profile: str
    fault: str | None
    requests_per_5min: int | None
    log_path: Path | None


@click.command("sandbox")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="0 picks a free one.")
@own_folder_option(
    "--state", Path("build/rehearsal/sandbox"), "Folder of its data; kept between starts."
)
@click.option("--account-id", default=ACCOUNT_ID, show_default=True)
@click.option("--token", default=API_TOKEN, show_default=True, help="Any; it guards nothing real.")
@click.option("--profile", type=click.Choice(sorted(PROFILES)), default="strict", show_default=True)
@click.option(
    "--fault",
    metavar="SPEC",
    help=f"Fail: {', '.join(FAULT_SCENARIOS)}, or single faults; sandbox/README.md lists them.",
)
@click.option(
    "--requests-per-5min",
    type=click.IntRange(1),
    metavar="N",
    help="Requests allowed per five minutes (default: 1,200, as Cloudflare).",
)
@click.option(
    "--log",
    "log_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that gets one JSON line per request.",
)
def command(**flags: Unpack[Flags]) -> None:
    """Serve a sandbox for Vectorize and Workers KV until stopped.

    The first line on stdout is JSON: base_url, account_id, api_token.
    """
    try:
        serve(
            flags["folder"],
            profile=with_budget(PROFILES[flags["profile"]], flags["requests_per_5min"]),
            account_id=flags["account_id"],
            api_token=flags["token"],
            fault=flags["fault"],
            port=flags["port"],
            log_path=flags["log_path"],
        )
    except ValueError as error:
        raise UsageError(str(error), remedy="correct --fault or --account-id") from error
    except StateFolderError as error:
        raise UsageError(str(error), remedy="name another folder with --state") from error
    except PortError as error:
        raise UsageError(
            str(error),
            remedy="name another with --port (0 takes a free one), or end the program that "
            "listens there",
        ) from error
