"""Options that several commands share, and groups of settings that they take together."""

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from migrate.errors import UsageError
from q2v.invocation import DEFAULT_FOLDER, current_invocation
from q2v.settings import BY_KEY, SETTINGS, Settings

Command = TypeVar("Command", bound=Callable[..., Any])

# For `takes`. `tests/q2v/test_reads.py` runs every command and compares what it really reads with
# what it takes, in both directions.
SEAL = "snapshot.hmac_key"
SHAPE = ("source.vector_name", "mapping.dimensions", "mapping.reduce")
SOURCE = (
    *(each.key for each in SETTINGS if each.section == "source" and each.key not in SHAPE),
    "tls.ca_file",
)
TARGET = (
    "target.account_id",
    "target.api_token",
    "target.api_base_url",
    "target.allow_other_host",
    "target.vector_index",
    "target.kv_namespace_id",
    "tls.ca_file",
    "limits.requests_per_5min",
)
MAPPING = (
    *(each.key for each in SETTINGS if each.section == "mapping" and each.key not in SHAPE),
    "kv.key_template",
    "kv.counter_key",
)
UPLOADS = ("limits.vectors_per_upload", "limits.body_bytes", "limits.uploads_in_flight")
CONTENTS = ("limits.content_full_max", "limits.content_sample")
PLANNING = (
    *SHAPE,
    *MAPPING,
    *UPLOADS,
    *CONTENTS,
    "target.kv_jurisdiction",
    "target.metadata_indexes",
    "limits.reads_in_flight",
    "limits.max_quarantine",
    "limits.deadline_s",
    "limits.poll_s",
    "kv.ttl_s",
)


def _remember_folder(context: click.Context, parameter: click.Parameter, folder: Path) -> Path:
    if context.resilient_parsing:  # a shell asks for completions
        return folder
    # Here and not above: what asks for the settings alone does not have to load Parquet.
    from migrate.snapshot.folder import snapshot_around  # noqa: PLC0415
    from migrate.storage.local_folder import LocalFolder  # noqa: PLC0415

    current_invocation().folder = folder
    owner = snapshot_around(LocalFolder(folder.absolute()))
    if owner is not None:
        raise UsageError(
            f"--dir {folder}: found a snapshot or a part of one, expected the folder that holds "
            "the snapshots",
            remedy=f"pass --dir {shlex.quote(str(owner.parent))}",
        )
    return folder


def folder_option(command: Command) -> Command:
    """`--dir`, given to the command as `folder`."""
    return own_folder_option("--dir", DEFAULT_FOLDER, "Folder of the snapshots and their runs.")(
        command
    )


def own_folder_option(flag: str, default: Path, doc: str) -> Callable[[Command], Command]:
    """A folder of its own for a command, given to it as `folder`; its crash log goes there too."""
    return click.option(
        flag,
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=default,
        show_default=True,
        is_eager=True,  # a crash log has to find its folder whatever else is wrong
        callback=_remember_folder,
        help=doc,
    )


def read_forced(file: Path | None) -> frozenset[str]:
    """The ids and keys in the operator's `--force` file; none without a file."""
    if file is None:
        return frozenset()
    from migrate.storage.id_files import read_typed_ids  # noqa: PLC0415 - loads the disk
    from migrate.storage.local_folder import local_file  # noqa: PLC0415

    return frozenset(read_typed_ids(local_file(file)))


def json_option(command: Command) -> Command:
    """`--json`, given to the command as `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout, errors included."
    )(command)


def yes_option(command: Command) -> Command:
    """`--yes`, given to the command as `yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask for confirmation.")(command)


def refuse_flags(settings: Settings, keys: Iterable[str], *, why: str) -> None:
    """Raises UsageError when one of these settings was given by its flag: it would do nothing.

    From the environment or the file it is ignored: one migration has one file.
    """
    typed = [BY_KEY[key].flag for key in keys if settings.is_typed(key)]
    if typed:
        raise UsageError(
            f"{', '.join(map(str, typed))}: this has no effect {why}",
            remedy="leave it out",
        )
