"""`q2v sandbox`: serve the stand-in for the target on loopback until stopped."""

from pathlib import Path

import click

from migrate.errors import UsageError
from q2v.options import own_folder_option
from sandbox.app import ACCOUNT_ID, API_TOKEN
from sandbox.database import StateFolderError
from sandbox.faults.scenarios import BAD_DAYS
from sandbox.profile import PROFILES, with_budget
from sandbox.server import serve


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
    help=f"Misbehave: {', '.join(BAD_DAYS)}, or single faults; sandbox/README.md lists them.",
)
@click.option(
    "--requests-per-5min",
    type=click.IntRange(1),
    metavar="N",
    help="Answer so many in five minutes, not the 1,200 of the service.",
)
@click.option(
    "--log",
    "log_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that gets one JSON line per request.",
)
def command(
    *,
    port: int,
    folder: Path,
    account_id: str,
    token: str,
    profile: str,
    fault: str | None,
    requests_per_5min: int | None,
    log_path: Path | None,
) -> None:
    """Serve a stand-in for Vectorize and Workers KV until stopped.

    The first line on stdout is JSON: base_url, account_id, api_token.
    """
    try:
        serve(
            folder,
            profile=with_budget(PROFILES[profile], requests_per_5min),
            account_id=account_id,
            api_token=token,
            fault=fault,
            port=port,
            log_path=log_path,
        )
    except ValueError as error:
        raise UsageError(str(error), remedy="correct --fault or --account-id") from error
    except StateFolderError as error:
        raise UsageError(str(error), remedy="name another folder with --state") from error
