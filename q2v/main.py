"""The command `q2v`: finds its subcommands when they are asked for, and ends with a known code."""

import gc
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem
from typing_extensions import override

from migrate.errors import ExitCode, UsageError
from q2v.commands import COMMANDS, LazyCommand
from q2v.invocation import Invocation
from q2v.memory import check_address_space
from q2v.output import failures
from q2v.output.logs import PROCESS_MASKER, masked_logging, silence_libraries
from q2v.output.terminal import write_text
from q2v.signals import Stopped, StopSignals
from q2v.version import DISTRIBUTION, describe_version

OWN_PACKAGES = frozenset({"q2v", "migrate", "reconcile"})  # always installed with q2v


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and turns every end into an exit code."""

    def __init__(self, *args: Any, table: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = dict(table)

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order of use."""
        return list(self.table)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None when there is no command of that name."""
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        try:
            command = entry.load()
        except ModuleNotFoundError as error:
            if not entry.extra or (error.name or "").partition(".")[0] in OWN_PACKAGES:
                raise
            if ctx.resilient_parsing:
                return None  # a shell asks for completions of a command that is not installed
            raise UsageError(
                f"q2v {cmd_name} is not installed: it is in the extra {entry.extra!r} "
                f"({error.name} was not found)",
                remedy=f"run: pip install '{DISTRIBUTION}[{entry.extra}]'",
            ) from error
        if not gc.isenabled():  # by `q2v.__main__`, until here
            gc.freeze()
            gc.enable()
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in `click`, with the nearest name for one that does not exist."""
        if args[0] not in self.table:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self.table, ctx=ctx)
        invocation = ctx.find_object(Invocation)
        if invocation is not None:
            invocation.resumes = self.table[args[0]].resumes
        return super().resolve_command(ctx, args)

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands of the table, and the group's own options; imports none."""
        commands = [
            CompletionItem(name, help=entry.summary)
            for name, entry in self.table.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table itself, so that help imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.table.items()])

    @override
    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        *_: object,
        stop: StopSignals | None = None,
        **__: object,
    ) -> NoReturn:
        """Run a command and exit. The one place where an error becomes text and exit code.

        `stop` is the guard that watches the signals: a received one decides, whatever else
        failed on the way out.
        """
        name = prog_name or "q2v"
        self._main_shell_completion({}, name)  # ends the process when a shell asks
        words = list(sys.argv[1:] if args is None else args)
        invocation = Invocation()
        with ExitStack() as lasting:
            invocation.lasting = lasting
            try:
                code = self._run(words, name, invocation)
            except BaseException as error:  # noqa: BLE001 - the last resort has no exceptions
                _take_unread(words, invocation)
                code = _end(error, invocation, stop, as_json=_asks_for_json(words))
            if invocation.on_success or invocation.on_failure:
                from q2v.watching.options import run_end_program  # noqa: PLC0415 - few calls need it

                run_end_program(words, code, invocation)
        sys.exit(code)

    def _run(self, words: list[str], name: str, invocation: Invocation) -> int:
        """Not `click`'s own `main`: it would answer a broken pipe and ^C with codes of its own."""
        try:
            with self.make_context(name, words, obj=invocation) as context:
                check_address_space()
                self.invoke(context)
            code: int = ExitCode.DONE
        except click.exceptions.Exit as end:
            code = end.exit_code
        # Flush here: an error at the interpreter's exit would not be reported.
        write_text(sys.stdout, "")
        return code


def _asks_for_json(words: Sequence[str]) -> bool:
    """Read from the words themselves: the error may be that they could not be parsed."""
    end = words.index("--") if "--" in words else len(words)
    return "--json" in words[:end]


def _take_unread(words: list[str], invocation: Invocation) -> None:
    """What is typed about the end, of a command whose words were not read to theirs."""
    if any(word.startswith(("--on-failure", "--progress")) for word in words):
        importlib.import_module("q2v.options").take_unread(words, invocation)


def _end(
    error: BaseException, invocation: Invocation, stop: StopSignals | None, *, as_json: bool
) -> ExitCode:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    if failures.is_reader_gone(error):
        return ExitCode.LOCAL_IO
    if stop is not None and stop.received is not None:
        failure = failures.explain_stop(stop.received, invocation)
    else:
        failure = failures.explain(error, invocation)
    failures.tell(failure, invocation, as_json=as_json)
    return failure.exit_code


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(describe_version())
        ctx.exit()


@click.group(
    "q2v",
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and the commit it was built from, and exit.",
)
def cli() -> None:
    """Move a Qdrant collection to Cloudflare Vectorize and Workers KV, and prove it."""


def main() -> NoReturn:
    """A command and its end as SystemExit; `q2v.__main__` makes a process of it."""
    silence_libraries()
    with masked_logging(PROCESS_MASKER, sys.stderr), StopSignals() as stop:
        try:
            cli.main(stop=stop)
        except Stopped as late:  # while another failure was being reported
            _leave(failures.explain_stop(late.number, Invocation()).exit_code)
        except SystemExit as end:
            _leave(end.code)


def _leave(code: object) -> NoReturn:
    """Exit without flushing stdout again; the failed write has already been reported.

    Otherwise the interpreter would flush once more, print its own error, and change the exit
    code.
    """
    if isinstance(code, int) and sys.stdout is not None:
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            os._exit(code)
    sys.exit(code)  # type: ignore[arg-type]  # as `cli.main` gave it
