"""Find what a word of q2v's output means: reasons, classes, exit codes, situations, messages."""

import pkgutil
from collections.abc import Iterator

import orjson

from migrate.errors import ExitCode
from migrate.run.next_step import Situation
from q2v.words.drift import DRIFT, MONITORED
from q2v.words.entry import Word
from q2v.words.reasons import REASONS

_HOLE = "..."  # in a message, where a value stands
_WORDS_MIN = 2  # of a text that is searched in the messages


def words() -> Iterator[Word]:
    """Every word with a name of its own."""
    for reason, (means, advice) in REASONS.items():
        name = reason.value
        yield Word(
            name=name,
            kind="reason for leaving a point out",
            means=f"the point {means}",
            advice=advice,
        )
    for name, (means, advice) in DRIFT.items():
        yield Word(name=name, kind="class of drift (reconcile)", means=means, advice=advice)
    for name, (means, advice) in MONITORED.items():
        yield Word(name=name, kind="class of inconsistency (monitor)", means=means, advice=advice)
    for code in ExitCode:
        again = f"safe to run again as is: {code.run_again}"
        yield Word(name=str(int(code)), kind="exit code", means=code.meaning, advice=again)
    for situation in Situation:
        yield Word(
            name=situation.means,
            kind="situation (now: ..., next: ...)",
            means=situation.means,
            advice=situation.remedy,
            written_as=situation.name.lower(),
        )


def messages() -> Iterator[Word]:
    """Every message of an error with its advice."""
    content = pkgutil.get_data("q2v.runbook", "messages.json")
    assert content is not None, "the wheel holds it"
    for entry in orjson.loads(content):
        yield Word(
            name=entry["message"],
            kind=f"message of an error (exit code {entry['exit_code']})",
            means=entry["message"],
            advice=entry["advice"],
        )


def look_up(text: str) -> list[Word]:
    """The words named `text`, or else the messages that hold it; empty for an unknown one.

    A text of two words or more is looked for in messages and situations.
    """
    wanted = _plain(text)
    named = [word for word in words() if wanted in {_plain(word.name), _plain(word.written_as)}]
    if named or len(wanted.split()) < _WORDS_MIN:
        return named
    return [word for word in (*words(), *messages()) if _holds(word.name, wanted)]


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("-", "_").split())


def _holds(name: str, wanted: str) -> bool:
    """Whether a message holds the text, or is the pattern of it: its holes fit anything."""
    plain = _plain(name)
    if wanted in plain:
        return True
    pieces = [piece.strip() for piece in plain.split(_HOLE) if piece.strip()]
    if sum(len(piece.split()) for piece in pieces) <= _WORDS_MIN:
        return False
    at = 0
    for piece in pieces:
        found = wanted.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True
