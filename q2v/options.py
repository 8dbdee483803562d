"""Options that several commands share, and groups of settings that they take together."""

import functools
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem
from typing_extensions import override

from migrate.errors import UsageError
from migrate.object_store.address import (
    ObjectAddress,
    is_object_address,
    parse_object_address,
)
from q2v.commands import COMMANDS
from q2v.invocation import (
    BUDGET_ENVIRONMENT,
    DEFAULT_FOLDER,
    Invocation,
    Place,
    current_invocation,
    local_of,
)
from q2v.output.configured import environment_warnings
from q2v.output.logs import PROCESS_MASKER
from q2v.output.progress import open_progress, set_progress_aside
from q2v.output.screen.wrapping import wrapped
from q2v.output.terminal import can_ask, escape_lines, write_text
from q2v.settings import BY_KEY, SETTINGS, Setting
from q2v.settings.loading import CONFIG_NAME, make_settings, read_file
from q2v.watching.options import running_options, take_end_options

Command = TypeVar("Command", bound=Callable[..., Any])

# For `takes`. `tests/q2v/test_reads.py` runs every command and compares what it really reads with
# what it takes, in both directions.
SEAL = "snapshot.hmac_key"
SHAPE = ("source.vector_name", "mapping.dimensions", "mapping.reduce")
SOURCE = (
    *(each.key for each in SETTINGS if each.section == "source" and each.key not in SHAPE),
    *(each.key for each in SETTINGS if each.section == "tls"),
)
TARGET = (
    "target.account_id",
    "target.api_token",
    "target.api_base_url",
    "target.allow_other_host",
    "target.vector_index",
    "target.shards",
    "target.kv_namespace_id",
    "tls.ca_file",
    "limits.requests_per_5min",
)
MAPPING = (
    *(each.key for each in SETTINGS if each.section == "mapping" and each.key not in SHAPE),
    "target.shards",
    "kv.key_template",
    "kv.counter_key",
)
# What finds the run of a command that asks no target.
RUN = ("target.vector_index", "target.shards", SEAL)
UPLOADS = ("limits.vectors_per_upload", "limits.body_bytes", "limits.uploads_in_flight")
VERIFIER = ("target.verifier_url", "target.verifier_key")
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


_TAKEN: dict[click.Command, list[Setting]] = {}


def takes(*keys: str) -> Callable[[click.Command], click.Command]:
    """`--config` and the flags of the settings that a command reads; it gets `settings`.

    The environment and the file may set every setting for every command: one migration has one
    file.
    """
    assert not set(keys) - set(BY_KEY), f"no such settings: {set(keys) - set(BY_KEY)}"
    taken = [setting for setting in SETTINGS if setting.key in keys]
    with_flag = [setting for setting in taken if setting.flag is not None]

    def decorate(command: click.Command) -> click.Command:
        inner = command.callback
        assert inner is not None

        @functools.wraps(inner)
        def with_settings(*args: Any, **values: Any) -> Any:
            _warn_of_names()
            settings = make_settings(click.get_current_context())
            current_invocation().settings = settings
            for setting in with_flag:
                del values[setting.name]
            return inner(*args, settings=settings, **values)

        command.callback = with_settings
        command.params.append(
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path),
                callback=read_file,
                expose_value=False,
                help=f"Settings file.  [default: {CONFIG_NAME}, if it exists]",
            )
        )
        command.params += [*with_flag, *running_options()]
        if "limits.requests_per_5min" in keys:
            command.params.append(_budget_option())
        _TAKEN[command] = taken
        return command

    return decorate


def _warn_of_names() -> None:
    """Say once, before a setting is missing or a service refuses, which variables set nothing."""
    warnings = environment_warnings()
    if not warnings:
        return
    from migrate.clock import SystemClock  # noqa: PLC0415 - few calls need it

    with open_progress(sys.stderr, SystemClock()) as progress:
        for text in warnings:
            progress.say(f"warning: {text}")


def _budget_option() -> click.Option:
    return click.Option(
        ["--budget"],
        type=click.Path(file_okay=False, path_type=Path),
        envvar=BUDGET_ENVIRONMENT,
        show_envvar=True,
        expose_value=False,
        callback=_remember_budget,
        help="Folder of the request budget, for commands of one account that do not share a --dir. "
        " [default: .budget in --dir]",
    )


def _remember_budget(context: click.Context, _: click.Parameter, folder: Path | None) -> None:
    current_invocation().budget = folder


def taken_by(command: str) -> list[Setting]:
    """The settings that `q2v COMMAND` takes; none where it reads no settings at all."""
    return _TAKEN.get(COMMANDS[command].load(), [])


def take_unread(words: list[str], invocation: Invocation) -> None:
    """See `take_end_options`; nothing for a command without those options."""
    with suppress(ModuleNotFoundError):  # the command is not installed
        if words[0] in COMMANDS and COMMANDS[words[0]].load() in _TAKEN:
            take_end_options(words, invocation)


class PlaceType(click.ParamType[Place]):
    """A folder of this machine, or of an object store: s3://BUCKET/PREFIX."""

    name = "directory"
    _folder = click.Path(file_okay=False, path_type=Path)

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """A path, or an address that can be opened."""
        if isinstance(value, ObjectAddress):
            return value
        if is_object_address(value):
            return parse_object_address(value)
        return Path(str(self._folder.convert(value, param, ctx)))

    @override
    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The folders of this machine."""
        return self._folder.shell_complete(ctx, param, incomplete)


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


def _remember_snapshots(context: click.Context, parameter: click.Parameter, folder: Place) -> Place:
    current_invocation().snapshots = folder
    if isinstance(folder, ObjectAddress):
        current_invocation().folder = local_of(folder)
        return folder
    return _remember_folder(context, parameter, folder)


def _remember_local(_: click.Context, __: click.Parameter, local: Path | None) -> None:
    invocation = current_invocation()
    invocation.local = local
    if isinstance(invocation.snapshots, ObjectAddress):
        invocation.folder = local_of(invocation.snapshots)


def folder_option(command: Command) -> Command:
    """`--dir`, given to the command as `folder`, and `--local`, which `wiring` asks for."""
    local = click.option(
        "--local",
        type=click.Path(file_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_remember_local,
        help="With --dir in an object store: the folder on this machine for runs, locks and copies "
        "of parts.  [default: snapshots/s3/BUCKET/PREFIX]",
    )
    directory = click.option(
        "--dir",
        "folder",
        type=PlaceType(),
        default=DEFAULT_FOLDER,
        show_default=True,
        is_eager=True,  # a crash log has to find its folder whatever else is wrong
        callback=_remember_snapshots,
        help="Folder of the snapshots and their runs, or s3://BUCKET/PREFIX.",
    )
    return directory(local(command))


def own_folder_option(flag: str, default: Path, doc: str) -> Callable[[Command], Command]:
    """A folder of its own for a command, given to it as `folder`; its crash log goes there too."""
    return click.option(
        flag,
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=default,
        show_default=True,
        is_eager=True,
        callback=_remember_folder,
        help=doc,
    )


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something is written, undone or created."""

    what: str  # the subject of "... needs confirmation"
    prompt: str  # without the name
    name: str  # to be typed
    remedy: str = "pass --yes"  # without a terminal
    said: str = ""  # a line before the prompt
    refused: str = "nothing was written"  # when another name is typed


def confirm_name(question: Question, *, sure: bool) -> None:
    """Ask for a name to be typed, unless the operator is `sure` and has not asked for it (--ask).

    Raises UsageError when another one is typed, or none, or stdin is no terminal.
    """
    if sure and not current_invocation().asks:
        return
    if not can_ask():
        raise UsageError(
            f"{question.what} needs confirmation, but stdin is not a terminal",
            remedy=question.remedy,
        )
    set_progress_aside()
    if question.said:
        said = "\n".join(
            line for text in question.said.split("\n") for line in wrapped(text, then="  ")
        )
        write_text(sys.stderr, f"{escape_lines(PROCESS_MASKER.mask(said))}\n")
    prompt = "\n".join(wrapped(f"{question.prompt} ({question.name})"))
    typed = click.prompt(prompt, default="", show_default=False, err=True)
    if typed != question.name:
        what = f"typed '{typed}'" if typed else "nothing was typed"
        raise UsageError(
            f"{what}, not '{question.name}'",
            remedy=f"{question.refused}; the same command asks again",
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


def waive_index_option(command: Command) -> Command:
    """`--waive-index`, given to the command as `waived_indexes`."""
    return click.option(
        "--waive-index",
        "waived_indexes",
        multiple=True,
        metavar="PROPERTY",
        help="Accept that no filter finds a vector by this metadata index. May be repeated.",
    )(command)


def max_delete_option(command: Command) -> Command:
    """`--max-delete`, given to the command as `max_delete`."""
    from migrate.plan.rules import DELETE_SHARE_DEFAULT, DELETES_ALWAYS  # noqa: PLC0415 - Arrow

    return click.option(
        "--max-delete",
        type=click.FloatRange(0, 1),
        default=DELETE_SHARE_DEFAULT,
        show_default=True,
        metavar="SHARE",
        help="Share of the vectors that a catch-up may delete; up to "
        f"{DELETES_ALWAYS} may always be deleted.",
    )(command)


def yes_option(command: Command) -> Command:
    """`--yes`, given to the command as `yes`, and `--ask`, which `confirm_name` follows."""
    ask = click.option(
        "--ask",
        is_flag=True,
        expose_value=False,
        callback=_remember_asking,
        help="Ask for confirmation also where the target is on this machine: to rehearse it.",
    )
    return ask(click.option("--yes", is_flag=True, help="Do not ask for confirmation.")(command))


def _remember_asking(context: click.Context, _: click.Parameter, ask: bool) -> None:
    current_invocation().asks = ask
