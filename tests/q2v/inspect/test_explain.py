"""`q2v explain`: every word that q2v prints for a state has a meaning and a way on."""

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate import errors
from migrate.cloudflare.client.codes import CODES
from migrate.errors import ExitCode
from migrate.mapping.payload import Reason
from migrate.run.next_step import Situation
from q2v.main import cli
from q2v.words.drift import DRIFT, MONITORED
from q2v.words.entry import Word
from q2v.words.lookup import look_up, messages, words
from q2v.words.reasons import REASONS
from q2v.words.system import ends_by_signal, system_texts_in
from reconcile.monitor.monitor import CLASSES
from reconcile.report.report import (
    content_classes,
    drift_counts,
    id_classes,
    kv_classes,
    metadata_classes,
    source_classes,
)
from reconcile.scan.kv import KvScan
from reconcile.scan.source import SourceScan
from reconcile.scan.vectors import ContentScan, IdScan
from tools.messages import ELSEWHERE, PACKAGES

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.fault("E04")

NO_IDS = IdScan(listed=0, expected=0, missing=(), extra=())
NO_CONTENTS = ContentScan(
    checked=0, verified=0, fell_back=None, mismatched=(), unreadable=(), foreign=(), differs={}
)
NO_SOURCE = SourceScan(points=0, added=(), changed=(), deleted=())
ERRORS = {name for name in dir(errors) if name.endswith("Error")}
MESSAGES = [word for word in messages() if "..." in word.name]


def explain(*typed: str) -> str:
    result = CliRunner().invoke(cli, ["explain", *typed])
    assert result.exit_code == ExitCode.DONE, result.stderr
    return result.stdout


def test_every_reason_is_explained() -> None:
    assert list(REASONS) == list(Reason)


def test_every_class_that_reconcile_and_monitor_name_is_explained() -> None:
    named = {
        *drift_counts(None, None, None, None),
        *id_classes(NO_IDS),
        *content_classes(NO_CONTENTS),
        *metadata_classes(()),
        *kv_classes(KvScan()),
        *source_classes(NO_SOURCE),
    }

    assert set(DRIFT) == named
    assert set(DRIFT) | set(MONITORED) >= set(CLASSES)


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: str(int(code)))
def test_an_exit_code_is_explained_by_its_number(code: ExitCode) -> None:
    shown = explain(str(int(code)))

    assert code.meaning in shown
    assert code.run_again in " ".join(shown.split())


@pytest.mark.parametrize("code", ExitCode)
def test_a_code_that_commands_end_with_that_begin_again_names_those_that_resume(
    code: ExitCode,
) -> None:
    """`q2v plan` ends with 7 too, and does not resume."""
    assert "resumes" not in code.run_again


@pytest.mark.parametrize(
    ("line", "means", "advice"),
    [
        ("No space left on device", "the disk is full", "free some disk space"),
        ("writing s/part-00001: No space left on device", "the disk is full", "`q2v check`"),
        ("[Errno 111] Connection refused", "nothing listens", "source.url"),
        ("[Errno -2] Name or service not known", "no address is known", "source.url"),
        ("q2v: [SSL: CERTIFICATE_VERIFY_FAILED] certificate", "not trusted", "tls.ca_file"),
        ("Permission denied", "this user may not", "make the folder writable"),
        ("ENOSPC", "the disk is full", "free some disk space"),
        ("Errno 28", "the disk is full", "free some disk space"),
        ("write failed (os error 28)", "the disk is full", "free some disk space"),
        ("timed out", "no answer came in time", "source.url"),
        ("135", "the disk is full", "free some disk space"),
        ("Bus error (core dumped)", "the disk is full", "run the same command again"),
        ("137", "memory ran out", "run the same command again"),
        ("exit status 137", "memory ran out", "more memory"),
        ("Killed", "memory ran out", "more memory"),
        ("zsh: killed     q2v snapshot", "memory ran out", "more memory"),
        ("line 1: 4711 Killed    q2v snapshot", "memory ran out", "more memory"),
        ("139", "a library", "report it"),
    ],
)
def test_a_text_of_the_operating_system_is_explained_first(
    line: str, means: str, advice: str
) -> None:
    first = look_up(line)[0]

    assert means in first.means
    assert advice in first.advice


def test_a_text_that_is_a_piece_of_another_is_not_explained_beside_it() -> None:
    assert [word.name for word in system_texts_in("connection timed out")] == [
        "Connection timed out"
    ]


def test_a_message_that_speaks_of_killed_processes_is_no_end_of_one() -> None:
    assert ends_by_signal("a run that was killed resumes") == []


@pytest.mark.parametrize("situation", Situation, ids=lambda one: str(one.name).lower())
def test_a_situation_is_explained_by_the_line_that_status_prints(situation: Situation) -> None:
    (by_line,) = [word for word in look_up(situation.means) if word.written_as]
    (by_name,) = [word for word in look_up(situation.name) if word.written_as]

    assert by_line == by_name
    assert by_line.advice


def test_a_word_is_found_however_it_is_spelt() -> None:
    assert look_up("KV-Missing") == look_up("kv_missing") != []


@pytest.mark.parametrize("word", MESSAGES, ids=lambda word: str(word.name)[:40])
def test_a_message_is_found_with_any_values_in_it(word: Word) -> None:
    """As it stands on the screen: each of its holes holds a value."""
    found = look_up(word.name.replace("...", "'a value of 17'"))

    assert word in found


def printed_texts() -> Iterator[str]:
    """Every text of the code that is given to an error, or said while a command works."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if not str(path.relative_to(ROOT)).startswith(ELSEWHERE):
                calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
                yield from (text for call in calls if is_said(call) for text in texts_in(call))


def is_said(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    return name in ERRORS or name in {"damaged", "say", "warning", "write_line"}


def texts_in(call: ast.Call) -> Iterator[str]:
    for given in (*call.args, *(each.value for each in call.keywords)):
        for part in ast.walk(given):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


@cache  # no other process of the tests reads the code for it
def long_texts() -> list[str]:
    return [text for text in dict.fromkeys(printed_texts()) if len(text.split()) > 4]


@pytest.mark.slow
def test_every_text_of_an_error_is_found_by_its_middle_words() -> None:
    known = "\n".join(
        " ".join(form.lower().split())
        for word in messages()
        for form in (word.name, word.advice, *word.forms)
    )

    assert len(long_texts()) > 600
    lost = [text for text in long_texts() if " ".join(text.lower().split()[1:-1]) not in known]
    assert lost == []


def test_a_few_words_one_after_the_other_find_their_message() -> None:
    for text in long_texts()[::40]:
        some = " ".join(text.split()[1:5])

        found = look_up(some)

        assert any(
            " ".join(some.lower().split()) in " ".join(form.lower().split())
            for word in found
            for form in (word.name, word.advice, *word.forms)
        ), some


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("found no value for", "found no value for ..., expected each to be configured"),
        ("q2v: found no value for source.url, expected each", "q2v init"),
        ("its mode is 0644", "found that its mode is"),
        ("waiting 28 s, until 21:02:03 UTC", "the command continues by itself"),
        ("attempt 2 of 8", "attempt ... of ..."),
        ("probe of 'Vectorize: Edit': HTTP 403, code 10000: Authentication error", "code 10000"),
        ("HTTP 429", "asks again by itself"),
    ],
)
def test_what_is_built_at_run_time_is_found_by_what_stands_on_the_screen(
    typed: str, shown: str
) -> None:
    assert shown in " ".join(explain(typed).split())


@pytest.mark.slow
def test_every_code_of_the_target_is_explained() -> None:
    assert [code for code in CODES if not look_up(f"code {code}")] == []


@pytest.mark.parametrize("typed", ["exit 3", "exit code 3", "exit 3: 3 points are left out for"])
def test_an_exit_code_is_found_as_the_output_writes_it(typed: str) -> None:
    assert look_up(typed) == look_up("3") != []


def test_a_blank_word_is_no_word() -> None:
    assert explain(" ") == explain()


def test_a_long_text_that_is_unknown_is_shown_in_part() -> None:
    result = CliRunner().invoke(cli, ["explain", "x" * 5_000])

    assert result.exit_code == ExitCode.USAGE
    assert len(result.stderr) < 300


def test_an_unknown_word_is_refused_with_the_nearest_ones() -> None:
    result = CliRunner().invoke(cli, ["explain", "kv_ky"])

    assert result.exit_code == ExitCode.USAGE
    assert "kv_key" in result.stderr
    assert "q2v explain" in result.stderr


def test_without_a_word_every_name_is_listed() -> None:
    listed = explain()

    assert [word.name for word in words() if (word.written_as or word.name) not in listed] == []


def test_as_json_a_word_has_its_kind_meaning_and_advice() -> None:
    (word,) = json.loads(explain("missing", "--json"))["words"]

    assert (word["name"], word["kind"]) == ("missing", "class of drift (reconcile)")
    assert "q2v migrate" in word["advice"]
