"""The canaries fit the code as it is, and a bug that no test sees is told as such."""

import ast
import functools
from collections import Counter
from dataclasses import replace

import pytest

from tests.faults.canaries.canary import Canary
from tests.faults.canaries.run import CANARIES, ROOT, TREE, run, table

# Section 13 of the fault matrix: "each must be caught by a named test".
NAMED_BY_THE_MATRIX = {
    *("ack-before-answer", "no-directory-fsync", "skip-last-page", "increment-counter"),
    *("success-false-accepted", "wait-by-equality", "retry-401", "bisect-on-5xx"),
    *("truncate-id-by-characters", "ignore-unsuccessful-keys", "sum-only-hash"),
    *("mask-only-one-header", "sampled-shown-as-full"),
}
BY_NAME = {canary.name: canary for canary in CANARIES}


def test_every_bug_of_the_matrix_is_there_and_names_are_unique() -> None:
    assert BY_NAME.keys() >= NAMED_BY_THE_MATRIX
    assert [
        name for name, times in Counter(one.name for one in CANARIES).items() if times > 1
    ] == []
    assert len(CANARIES) >= 30


@functools.cache
def functions_of(path: str) -> set[str]:
    """The names of a file's functions."""
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


@functools.cache
def unparsed(text: str) -> str:
    """The text without comments and line breaks."""
    return ast.unparse(ast.parse(text))


@functools.lru_cache(maxsize=64)
def own_attributes(whole: str) -> set[str]:
    """The attributes of `self` that the text names."""
    return {
        node.attr
        for node in ast.walk(ast.parse(whole))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
def test_a_canary_fits_the_code_as_it_is(canary: Canary) -> None:
    """One that does not would still be counted and prove nothing."""
    whole = (ROOT / canary.file).read_text(encoding="utf-8")
    planted = canary.plant(whole)
    path, _, name = canary.test.partition("::")

    assert canary.occurrences(whole) == 1
    assert ast.unparse(ast.parse(planted)) != unparsed(whole)
    # Code that stops at a name which is not there is caught by any test.
    assert own_attributes(planted) <= own_attributes(whole)
    assert name in functions_of(path)
    assert {canary.file.partition("/")[0], path.partition("/")[0]} <= set(TREE)


@pytest.mark.slow
def test_a_planted_bug_is_caught_by_its_test_and_the_project_is_left_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = [BY_NAME["success-false-accepted"], BY_NAME["no-directory-fsync"]]
    before = [(ROOT / canary.file).read_bytes() for canary in chosen]

    assert run(chosen)
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"caught    {chosen[0].name}: {chosen[0].test}[200-")
    assert second.startswith(f"caught    {chosen[1].name}: {chosen[1].test}[")
    assert last == "2 of 2 canaries caught"
    assert [(ROOT / canary.file).read_bytes() for canary in chosen] == before


HARMLESS = Canary(
    name="harmless",
    effect="none",
    file="migrate/cloudflare/client/verdict.py",
    old='    """The status of an answer, with the code and message of its error."""\n',
    new='    """Said in other words."""\n',
    test=BY_NAME["success-false-accepted"].test,
)


def test_comments_line_breaks_and_quotes_of_the_code_do_not_matter() -> None:
    whole = """
def g(a):
    if a == "b":  # why
        return f(
            1, kept=True
        )
"""
    lines = replace(HARMLESS, old="    if a == 'b':\n        return f(1, kept=True)\n", new="")
    argument = replace(HARMLESS, old="kept=True,", new="kept=False,")

    assert lines.occurrences(whole) == argument.occurrences(whole) == 1
    assert lines.plant(whole) == "def g(a):\n"
    assert argument.plant(whole).endswith("return f(1, kept=False)\n")


@pytest.mark.slow
def test_what_no_test_sees_has_survived_and_a_broken_module_proves_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A test that cannot even be imported has caught nothing; nor has one that was not there."""
    broken = replace(HARMLESS, name="broken", old="import re\n", new="import re_\n")
    ambiguous = replace(HARMLESS, name="ambiguous", old="return")

    assert not run([HARMLESS, broken, ambiguous])
    told = capsys.readouterr().out
    assert f"SURVIVED  harmless: none; {HARMLESS.test} passes" in told
    assert f"UNCLEAR   broken: {HARMLESS.test} did not fail, pytest ended with" in told
    assert (
        "UNCLEAR   ambiguous: migrate/cloudflare/client/verdict.py holds the text to replace"
        in told
    )
    assert "0 of 3 canaries caught" in told


@pytest.mark.slow
def test_named_tests_that_fail_without_a_bug_stop_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert not run(
        [replace(HARMLESS, test="tests/migrate/cloudflare/client/test_verdict.py::test_of_nobody")]
    )
    assert capsys.readouterr().out.startswith("without any bug the named tests do not pass")


def test_the_list_is_a_markdown_table_of_all() -> None:
    lines = table(CANARIES).splitlines()

    assert len(lines) == 2 + len(CANARIES)
    assert {line.count(" | ") for line in [lines[0], *lines[2:]]} == {3}
