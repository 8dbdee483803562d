"""`q2v explain`: every word that q2v prints for a state has a meaning and a way on."""

import json

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from migrate.mapping.payload import Reason
from migrate.run.next_step import Situation
from q2v.main import cli
from q2v.words.drift import DRIFT, MONITORED
from q2v.words.entry import Word
from q2v.words.lookup import look_up, messages, words
from q2v.words.reasons import REASONS
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

pytestmark = pytest.mark.fault("E04")

NO_IDS = IdScan(listed=0, expected=0, missing=(), extra=())
NO_CONTENTS = ContentScan(
    checked=0, verified=0, fell_back=None, mismatched=(), unreadable=(), foreign=(), differs={}
)
NO_SOURCE = SourceScan(points=0, added=(), changed=(), deleted=())
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
    assert code.run_again in shown


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
