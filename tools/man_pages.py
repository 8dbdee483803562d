"""Write a man page for q2v and for each of its commands, from their help.

`make man` writes them to build/man; `man -l build/man/q2v-migrate.1` shows one.
"""

import sys
from pathlib import Path

import click
from click_man.core import generate_man_page

from migrate.storage.durable import make_folder
from q2v.commands import COMMANDS
from q2v.main import cli
from q2v.version import describe_version

SECTION = 1


def pages() -> dict[str, str]:
    """File name -> page in roff."""
    # With the settings of a real call: click keeps the help option that it makes first.
    context = click.Context(cli, info_name="q2v", **cli.context_settings)
    _summarise(cli)
    version = describe_version()
    made = {f"q2v.{SECTION}": _with_commands(generate_man_page(context, version))}
    for name, entry in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None, "the table names it"
        _summarise(command)
        command.short_help = entry.summary
        below = click.Context(command, info_name=name, parent=context)
        made[f"q2v-{name}.{SECTION}"] = generate_man_page(below, version)
    return made


def _summarise(command: click.Command) -> None:
    """Give it and its commands a whole sentence, where click-man would cut the help off."""
    command.short_help = (command.help or "").partition("\n")[0]
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _summarise(below)


def _with_commands(page: str) -> str:
    """The page of the group with its commands: it imports none until it is called."""
    lines = [".SH COMMANDS"]
    for name, command in COMMANDS.items():
        lines += [
            ".TP",
            f"\\fBq2v {name}\\fR",
            command.summary,
            f"See \\fBq2v-{name}({SECTION})\\fR.",
        ]
    return page.rstrip("\n") + "\n" + "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write all pages to a folder."""
    make_folder(folder)
    for name, page in pages().items():
        (folder / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
