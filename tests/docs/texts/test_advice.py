"""Advice can be followed: what a message, a help text or a page names exists and is read."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from q2v.commands import COMMANDS
from q2v.invocation import BUDGET_ENVIRONMENT
from q2v.main import cli
from q2v.settings import BY_KEY, SETTINGS
from tests.docs.settings_table import TAKEN
from tests.docs.texts.named import (
    COMMAND,
    FLAG,
    MAKE,
    ROOT,
    SETTING,
    VARIABLE,
    Text,
    code_texts,
    messages,
    modules,
    reachable,
)

# Flags of other programs stand in a command of theirs; the real ones run them in other tests.
OF_OTHERS = re.compile(
    r"`?\b(?:wrangler|rclone|dask (?:scheduler|worker)|tar --zstd|python -m|pip install|ARGS=)[^`]*"
)
BY_CLICK = {"--help", "-h", "--version"}
# The rehearsal sets them for itself.
RUN_OTHERS = {"rehearse", "fleet"}  # their texts name what other commands take
OURS_INSIDE = {"Q2V_REHEARSAL_TOKEN", "Q2V_REHEARSAL_VERIFIER_KEY"}
FILES = {"kv.parquet", "limits.py"}  # have the form of a setting's name
# As a message or a page writes it -> the setting.
KEYS = {
    **{f"{each.key}_file": each.key for each in SETTINGS if each.is_secret},
    **dict(zip(BY_KEY, BY_KEY, strict=True)),
}
# Messages of commands that have no folder of snapshots.
WITHOUT_FOLDER = {"rehearse.py", "rehearsed.py", "sandbox.py"}
# What happened before, and why: there a name may be one of the past.
HISTORY = ("CHANGELOG.md", "docs/decisions", "tests/cases", "benchmarks/results")
PAGES = [
    page
    for page in sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[a-z]*/README.md")]
    )
    if not str(page.relative_to(ROOT)).startswith(HISTORY)
]


@cache
def flags_of(command: str) -> frozenset[str]:
    """Every flag that a command takes."""
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return frozenset(name for each in found.params for name in each.opts)


@cache
def commands_with(module: Path) -> frozenset[str]:
    """The commands that can show a text of this module.

    All of them for what `main` itself shows, for the rehearsal's story, which is about all, and for
    the words that `q2v explain` explains.
    """
    if module in reachable(ROOT / "q2v" / "main.py") or module.parent == ROOT / "q2v" / "words":
        return frozenset(COMMANDS)
    modules_of = {name: each.place.partition(":")[0] for name, each in COMMANDS.items()}
    places = {name: ROOT / f"{place.replace('.', '/')}.py" for name, place in modules_of.items()}
    found = {name for name, place in places.items() if module in reachable(place)}
    return frozenset(found if found - RUN_OTHERS else COMMANDS)


@cache
def variables() -> frozenset[str]:
    """Every environment variable that is read."""
    plain = {each.environment for each in SETTINGS if each.environment is not None}
    files = {f"{each.environment}_FILE" for each in SETTINGS if each.is_secret}
    return frozenset(plain | files | OURS_INSIDE | {BUDGET_ENVIRONMENT})


@cache
def targets() -> frozenset[str]:
    """Every make target."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))


def shown_texts() -> Iterator[Text]:
    """Every string of the product's modules."""
    for module in modules():
        yield from code_texts(module)


def page_lines() -> Iterator[Text]:
    """Every line of the pages that say how things are."""
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            yield Text(page, number, line)


def without_others(text: Text) -> str:
    """The text without commands of other programs, and without words of their argv.

    wrangler takes `--name=value`, q2v `--name value`.
    """
    is_code = text.path.suffix == ".py"
    near = text.path.read_text(encoding="utf-8") if is_code else text.text
    if "wrangler" not in near:
        return OF_OTHERS.sub("", text.text)
    if is_code and re.fullmatch(r"--[a-z-]+", text.text):
        return ""
    return OF_OTHERS.sub("", re.sub(r"--[a-z-]+=", "", text.text))


def faults_of_settings(text: Text, commands: frozenset[str]) -> Iterator[str]:
    """Settings that do not exist, or that no command reads that can show the text."""
    for key in SETTING.findall(text.text):
        if key in FILES:
            continue
        if key not in KEYS:
            yield f"{key} is no setting"
        elif not any(KEYS[key] in TAKEN.get(each, ()) for each in commands):
            yield f"{key} is read by none of {sorted(commands)}"


def faults_of_commands(text: Text) -> Iterator[str]:
    """Commands that do not exist, and their flags that they do not have."""
    for command, rest in COMMAND.findall(text.text):
        if command not in COMMANDS:
            yield f"q2v {command} does not exist"
            continue
        for flag in FLAG.findall(rest):
            if flag not in flags_of(command) | BY_CLICK:
                yield f"q2v {command} has no {flag}"


def faults_of_flags(text: Text, commands: frozenset[str]) -> Iterator[str]:
    """Flags of no command that can show the text; those beside a command were looked at above."""
    named = {flag for _, rest in COMMAND.findall(text.text) for flag in FLAG.findall(rest)}
    meant = {command for command in COMMANDS if re.search(rf"\b{command}\b", text.text)}
    known = {flag for each in commands | meant for flag in flags_of(each)} | BY_CLICK
    for flag in sorted(set(FLAG.findall(without_others(text))) - named - known):
        yield f"{flag} is no flag of {sorted(commands)}"


def faults_of_names(text: Text) -> Iterator[str]:
    """Environment variables and make targets that do not exist."""
    for name in VARIABLE.findall(text.text):
        if name not in variables():
            yield f"{name} is no environment variable that is read"
    for name in MAKE.findall(text.text):
        if name not in targets():
            yield f"make {name} does not exist"


def faults(text: Text, commands: frozenset[str]) -> list[str]:
    """Everything that cannot be followed."""
    return [
        *faults_of_settings(text, commands),
        *faults_of_commands(text),
        *faults_of_flags(text, commands),
        *faults_of_names(text),
    ]


@pytest.mark.slow
@pytest.mark.fault("F09")
def test_every_name_in_a_text_of_the_code_exists_and_is_read() -> None:
    """In every string of the product: messages, remedies, help texts, docstrings."""
    found = [
        f"{text}: {fault}"
        for text in shown_texts()
        for fault in faults(text, commands_with(text.path))
    ]

    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_command_in_a_message_is_in_backquotes() -> None:
    """There it gets the folder and the flags of the running command when it is printed."""
    bare = re.compile(rf"(?<!`)\bq2v (?:{'|'.join(COMMANDS)})\b(?! is)")
    found = [
        str(text)
        for module in modules()
        for text in messages(module)
        if bare.search(text.text) and module.name not in WITHOUT_FOLDER
    ]

    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.fault("F09")
def test_every_name_on_a_page_exists_and_is_read() -> None:
    everywhere = frozenset(COMMANDS)
    found = [f"{line}: {fault}" for line in page_lines() for fault in faults(line, everywhere)]

    assert not found, "\n".join(found)


@pytest.mark.fault("F09")
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("lower limits.upload_bytes", "limits.upload_bytes is no setting"),
        ("set limits.content_sample", "limits.content_sample is read by none of ['snapshot']"),
        ("set source.api_token_file", "source.api_token_file is no setting"),
        ("run `q2v repair` first", "q2v repair does not exist"),
        ("next: q2v snapshot --into-non-empty", "q2v snapshot has no --into-non-empty"),
        ("pass --into-non-empty", "--into-non-empty is no flag of ['snapshot']"),
        ("unset Q2V_PAGE_POINTS", "Q2V_PAGE_POINTS is no environment variable that is read"),
        ("run: make format", "make format does not exist"),
    ],
)
def test_advice_that_cannot_be_followed_is_found(text: str, fault: str) -> None:
    """The finder itself: each of these is found in a text of `q2v snapshot`."""
    place = ROOT / "q2v" / "commands" / "move" / "snapshot.py"

    assert [fault] == faults(Text(place, 1, text), frozenset({"snapshot"}))


@pytest.mark.fault("F09")
def test_the_finder_sees_what_there_is() -> None:
    """It would hold of no text at all: these are known to stand in the code and on the pages."""
    texts, lines = list(shown_texts()), list(page_lines())

    for pattern, name in (
        (SETTING, "limits.content_full_max"),
        (FLAG, "--max-quarantine"),
        (VARIABLE, "CLOUDFLARE_API_BASE_URL"),
    ):
        assert any(name in pattern.findall(text.text) for text in texts), name
        assert any(name in pattern.findall(line.text) for line in lines), name
    assert any(found[0] == "provision" for text in texts for found in COMMAND.findall(text.text))
    assert any("check" in MAKE.findall(line.text) for line in lines)
