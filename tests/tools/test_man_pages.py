"""A man page for each command says what its help says."""

import re

import click
import pytest

from q2v.commands import COMMANDS
from q2v.main import cli
from tools.man_pages import pages

PAGES = pages()


def unescaped(page: str) -> str:
    """The text of a page as a reader sees it, roughly: without roff's escapes and requests."""
    text = re.sub(r"\\f[A-Z]", "", page).replace("\\-", "-")
    return " ".join(re.sub(r"^\.[A-Za-z]+ ?", "", text, flags=re.MULTILINE).split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_the_summary_and_every_option_of_its_command(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    shown = unescaped(PAGES[f"q2v-{name}.1"])

    assert COMMANDS[name].summary in shown
    flags = [
        flag for each in command.params if each.param_type_name == "option" for flag in each.opts
    ]
    assert [flag for flag in flags if flag not in shown] == []


def test_the_page_of_q2v_names_every_command() -> None:
    shown = unescaped(PAGES["q2v.1"])

    assert [name for name in COMMANDS if f"q2v-{name}(1)" not in shown] == []


def test_no_text_of_a_page_is_taken_for_a_request() -> None:
    """A line that begins with a dot or a quote is one to roff."""
    requests = {"TH", "SH", "B", "PP", "TP", "SS", "nf", "fi", "br", "IP", "RS", "RE"}
    wrong = [
        line
        for page in PAGES.values()
        for line in page.splitlines()
        if line.startswith(("'", ".")) and line[1:].split(" ")[0] not in requests
    ]

    assert wrong == []
