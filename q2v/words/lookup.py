"""Find what a word of q2v's output means: reasons, classes, exit codes, situations, messages."""

import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import orjson

from migrate.errors import ExitCode
from migrate.run.next_step import Situation
from q2v.words.answers import answers_in
from q2v.words.drift import DRIFT, MONITORED
from q2v.words.entry import Word
from q2v.words.reasons import REASONS
from q2v.words.system import ends_by_signal, system_texts_in

_HOLE = "..."  # in a message, where a value stands
_EXIT = re.compile(r"exit (?:code |status )?(\d+)\b")  # as the output writes an exit code
_WORDS_MIN = 2  # of a text that is searched in the messages
_RUN_MIN = 3  # words one after the other that a text and a message share
_MARKS = ".,:;!?()'`\""
_LABEL = re.compile(r"^(q2v|next|now): ")  # of a line as it stands on the terminal
_PART = "part of a message, or what a command says while it works"
_PART_ADVICE = (
    "after an error the line that begins with `next:` says what to do; else the command continues "
    "by itself"
)


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
    """Every message of an error with its advice, then every other text that is printed."""
    content = pkgutil.get_data("q2v.runbook", "messages.json")
    assert content is not None, "the wheel holds it"
    for entry in orjson.loads(content):
        message, code = entry["message"], entry["exit_code"]
        if code is None:
            yield Word(
                name=message, kind=_PART, means=f"from: {entry['from']}", advice=_PART_ADVICE
            )
        else:
            yield Word(
                name=message,
                kind=f"message of an error (exit code {code})",
                means=message,
                advice=entry["advice"] or _PART_ADVICE,
                forms=tuple(entry.get("forms", ())),
            )


def look_up(text: str) -> list[Word]:
    """The words named `text`, or else the messages that hold it; empty for an unknown one.

    A line that begins with an exit code, as `exit 3: ...`, is looked up as that code.
    A text of two words or more is looked for in messages and situations: as a piece of one, as one
    with values in it, in advice, and at last by the longest run of words that both have. What
    shares most words with it comes first.
    """
    wanted = _plain(_LABEL.sub("", text.strip()))
    if code := _EXIT.match(wanted):
        wanted = code[1]
    named = [word for word in words() if wanted in {_plain(word.name), _plain(word.written_as)}]
    if named:
        return named
    answers = answers_in(wanted) + system_texts_in(wanted) + ends_by_signal(wanted)
    if len(wanted.split()) < _WORDS_MIN:
        return answers
    found = _sharing(_Text.shares, wanted)
    found = found or [word for word, _ in _known() if wanted in _plain(word.advice)]
    return answers + (found or _sharing(_Text.shares_a_run, wanted) or _nearest(wanted))


def _sharing(shares: Callable[["_Text", str], int], wanted: str) -> list[Word]:
    """Those that share words with a text, those that share most of them first."""
    found = []
    for word, texts in _known():
        counts = [shares(text, wanted) for text in texts]
        most = max(counts)
        if most > counts[0]:
            found.append((most, replace(word, means=word.forms[counts.index(most) - 1])))
        elif most:
            found.append((most, word))
    found.sort(key=lambda pair: (-pair[0], pair[1].kind == _PART, len(pair[1].name)))
    return [word for _, word in found]


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("-", "_").split())


@dataclass(frozen=True, slots=True)
class _Text:
    """One form of a message, with what a search asks of it."""

    plain: str
    pieces: tuple[str, ...]  # between its values
    split: tuple[str, ...]

    def shares(self, wanted: str) -> int:
        """How many words it shares with a text that is a piece of it, or it with values."""
        if wanted in self.plain:
            return len(wanted.split())
        at = 0
        for piece in self.pieces:
            found = wanted.find(piece, at)
            if found < 0:
                return 0
            at = found + len(piece)
        count = sum(len(piece.split()) for piece in self.pieces)
        return count if count > _WORDS_MIN else 0

    def shares_a_run(self, wanted: str) -> int:
        """How many words a part of it, with values, shares with a text.

        A value is one word or more. 0 unless all of the text is taken, and two words of it are no
        values.
        """
        split = wanted.split()
        if sum(word in self.split for word in split) < _WORDS_MIN:
            return 0
        states = {(at, 0) for at in range(len(self.split))}  # the next word, words shared
        for word in split:
            states = {state for before in states for state in self._after(word, *before)}
        most = max((count for _, count in states), default=0)
        return most if most >= _WORDS_MIN else 0

    def _after(self, word: str, at: int, count: int) -> Iterator[tuple[int, int]]:
        here = self.split[at] if at < len(self.split) else ""
        if here == word:
            yield at + 1, count + 1
        elif _HOLE in here:
            head, tail = here.partition(_HOLE)[0], here.rpartition(_HOLE)[2]
            if word.startswith(head) or word.endswith(tail):
                yield from ((at, count), (at + 1, count))


@cache
def _known() -> list[tuple[Word, list[_Text]]]:
    """Every word and message with its forms."""
    return [
        (word, [_text(form) for form in (word.name, *word.forms)])
        for word in (*words(), *messages())
    ]


def _text(form: str) -> _Text:
    plain = _plain(form)
    pieces = (piece.strip() for piece in plain.split(_HOLE))
    return _Text(plain, tuple(filter(None, pieces)), tuple(plain.split()))


def _nearest(wanted: str) -> list[Word]:
    """Those that have the longest run of words of the wanted text."""
    split = wanted.split()
    for length in range(len(split), _RUN_MIN - 1, -1):
        runs = _runs(split, length)
        found = [
            word
            for word, texts in _known()
            if any(not runs.isdisjoint(_runs(text.split, length)) for text in texts)
        ]
        if found:
            return sorted(found, key=lambda word: word.kind == _PART)
    return []


def _runs(some: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {
        tuple(word.strip(_MARKS) for word in some[at : at + length])
        for at in range(len(some) - length + 1)
    }
