"""Printed commands: a real shell runs exactly these when an operator pastes them.

tests/clients/test_printed_commands.py checks what wrangler does with them.
"""

import os
import random
import shlex
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from migrate.plan.record import RunPlan
from q2v.output.terminal import escape_terminal
from reconcile.rollback import manifest
from tests.harness.running.programs import run_program
from tests.migrate.model.records import PLAN

pytestmark = pytest.mark.fault("B06")

HOSTILE = [
    "-rf", "--config=/etc/passwd", "$(touch canary)", "`touch canary`", "; touch canary",
    "a && touch canary", "a | touch canary", "> canary", "'", '"', "'; touch canary; '", "\\",
    '"; touch canary; "', "a\ntouch canary", "a\r\ntouch canary\n", "$HOME", "~", "*", "{a,b}",
    "!!", "#", "", " ", "\t", "é\u2028", "${x:=$(touch canary)}", "\\'; touch canary #",
]  # fmt: skip
PIECES = [
    "$(", ")", "`", "'", '"', ";", "&", "|", ">", "<", "\\", "\n", " ", "touch canary", "-", "*",
    "~", "#", "!", "{", "}", "$", "a",
]  # fmt: skip


def hostile_texts() -> list[str]:
    """Known injection texts, and 150 seeded mixtures of their pieces."""
    generator = random.Random(6)
    mixed = ["".join(generator.choices(PIECES, k=generator.randint(1, 8))) for _ in range(150)]
    return [*HOSTILE, *mixed]


def plan_with(text: str) -> RunPlan:
    return replace(
        PLAN,
        index=replace(PLAN.index, name=text),
        kv_target={**PLAN.kv_target, "kv_namespace": text},
        writes=replace(PLAN.writes, counter_key=text),
    )


def commands(text: str) -> list[tuple[str, ...]]:
    """Every command that the tool prints, with `text` as every value."""
    run: Any = SimpleNamespace(plan=plan_with(text))
    return [
        *manifest.commands_before(run, None),
        *manifest.commands_after(run),
    ]


def run_in_bash(lines: list[str], folder: Path) -> list[list[str]]:
    """The argument lists that `wrangler`, a function of the same shell, is called with."""
    log, work = folder / "calls", folder / "work"
    work.mkdir()
    # Their number, then each of them; a NUL, which none can hold, ends each.
    wrangler = f'wrangler() {{ printf \'%s\\0\' "$#" "$@" >> {shlex.quote(str(log))}; }}'
    done = run_program(
        *("/bin/bash", "-c", "\n".join([wrangler, *lines])),
        cwd=work,
        env={"PATH": f"/usr/bin{os.pathsep}/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(work.iterdir()) == []  # nothing was touched, written or redirected
    words = iter(log.read_bytes().decode().removesuffix("\0").split("\0"))
    return [list(islice(words, int(count))) for count in words]


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
def test_the_shell_sees_exactly_the_arguments_that_were_meant(tmp_path: Path) -> None:
    """The commands of the JSON document, which are argument lists, quoted with `shlex`."""
    meant = [argv for text in hostile_texts()[:60] for argv in commands(text)[2:]]
    meant += [argv for text in ("docs", "a-b_C9") for argv in commands(text)]
    seen = run_in_bash([shlex.join(argv) for argv in meant], tmp_path)

    assert seen == [list(argv[1:]) for argv in meant]


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
def test_a_command_as_a_terminal_shows_it_has_no_side_effect(tmp_path: Path) -> None:
    """Control characters are shown escaped: the command may name nothing, but runs nothing else."""
    meant = [argv for text in hostile_texts() for argv in commands(text)[2:]]
    seen = run_in_bash([escape_terminal(shlex.join(argv)) for argv in meant], tmp_path)

    assert [len(argv) for argv in seen] == [len(argv) - 1 for argv in meant]
    for got, argv in zip(seen, meant, strict=True):
        if shlex.join(argv).isprintable():
            assert got == list(argv[1:])


def test_no_text_can_become_an_option() -> None:
    """It is the value of an option in one word with it, or begins with a letter or a digit."""
    for text in HOSTILE:
        for argv in commands(text):
            assert text not in argv or text[0].isalnum(), argv


@pytest.mark.fault("F16")
def test_nothing_stands_behind_two_dashes() -> None:
    """Wrangler drops it there."""
    for text in ("docs", *HOSTILE):
        assert all("--" not in argv for argv in commands(text))


@pytest.mark.fault("F16")
@pytest.mark.parametrize(("name", "count"), [("docs", 2), ("3d-docs", 2), ("-docs", 0), ("", 0)])
def test_an_index_of_an_earlier_plan_is_named_only_where_it_is_no_option(
    name: str, count: int
) -> None:
    assert sum(argv[1:2] == ("vectorize",) for argv in commands(name)) == count
