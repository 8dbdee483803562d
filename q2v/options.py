"""Options that several commands share; the flags of settings come from their declarations."""

import functools
import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from migrate.errors import UsageError
from q2v.config_file import CONFIG_NAME, find_config
from q2v.declaration import Setting
from q2v.invocation import DEFAULT_FOLDER, current_invocation
from q2v.loading import load_settings
from q2v.settings import BY_KEY, SETTINGS, Layer, Settings

Command = TypeVar("Command", bound=Callable[..., Any])

_PREFIX = "setting_"


def _remember_folder(context: click.Context, parameter: click.Parameter, folder: Path) -> Path:
    # Here and not above: what asks for the settings alone does not have to load Parquet.
    from migrate.snapshot.folder import snapshot_around  # noqa: PLC0415

    current_invocation().folder = folder
    owner = snapshot_around(folder)
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


def json_option(command: Command) -> Command:
    """`--json`, given to the command as `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout, errors included."
    )(command)


def yes_option(command: Command) -> Command:
    """`--yes`, given to the command as `yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask for confirmation.")(command)


def settings_options(*keys: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--config` and the flags of these settings; the command gets `settings`.

    A command names what it reads (`q2v.reads.READS`). All settings are resolved, whatever the
    keys: they only decide which flags there are.
    """
    unknown = set(keys) - set(BY_KEY)
    assert not unknown, f"no such settings: {sorted(unknown)}"
    flagged = [each for each in SETTINGS if each.key in keys and each.flag is not None]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def resolved(*args: Any, config: Path | None, **kwargs: Any) -> Any:
            current_invocation().config = config
            flags = {each.key: kwargs.pop(_parameter(each)) for each in flagged}
            settings = load_settings(
                config=find_config(config), environment=os.environ, flags=flags
            )
            return command(*args, settings=settings, **kwargs)

        decorated: Callable[..., Any] = resolved
        for setting in reversed(flagged):
            decorated = _flag(setting)(decorated)
        return click.option(
            "--config",
            type=click.Path(path_type=Path),
            default=None,
            help=f"Settings file.  [default: {CONFIG_NAME}, if it exists]",
        )(decorated)

    return decorate


def refuse_flags(settings: Settings, keys: Iterable[str], *, why: str) -> None:
    """Raises UsageError when one of these settings was given by its flag: it would do nothing.

    From the environment or the file it is ignored: one migration has one file.
    """
    typed = [BY_KEY[key].flag for key in keys if settings.origin(key).layer is Layer.FLAG]
    if typed:
        raise UsageError(
            f"{', '.join(map(str, typed))}: this has no effect {why}",
            remedy="leave it out",
        )


def _parameter(setting: Setting) -> str:
    return f"{_PREFIX}{setting.section}_{setting.name}"


def _flag(setting: Setting) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Text in, text out: the loader checks it like a value of the file, with the same words."""
    assert setting.flag is not None
    if setting.kind is bool:
        return click.option(
            setting.flag,
            _parameter(setting),
            is_flag=True,
            default=None,
            help=setting.declaration.doc,
        )
    kinds = {int: "NUMBER", float: "NUMBER", Path: "FOLDER"}
    metavar = f"[{'|'.join(setting.choices)}]" if setting.choices else kinds.get(setting.kind)
    return click.option(
        setting.flag,
        _parameter(setting),
        default=None,
        metavar=metavar or "TEXT",
        help=f"{setting.declaration.doc}  ({setting.key}, {setting.environment})",
    )
