"""Counts in words have the right number."""

import pytest

from migrate.words import counted, minutes_in_words, of_unit, subject


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "vector", "0 vectors"),
        (1, "vector", "1 vector"),
        (1_200, "KV key", "1,200 KV keys"),
        (2, "metadata index", "2 metadata indexes"),
        (3, "entry", "3 entries"),
        (2, "query", "2 queries"),
    ],
)
def test_a_count_has_its_number(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words


@pytest.mark.parametrize("unit", ["vectors", "entries", "queries", "properties", "ids", "files"])
def test_a_unit_in_the_plural_has_its_singular(unit: str) -> None:
    assert of_unit(2, unit) == f"2 {unit}"
    assert of_unit(1, unit) in {"1 vector", "1 entry", "1 query", "1 property", "1 id", "1 file"}


@pytest.mark.parametrize(
    ("number", "verb", "words"),
    [
        (1, "is", "1 point is"),
        (2, "is", "2 points are"),
        (0, "was", "0 points were"),
        (5, "has", "5 points have"),
        (1, "differs", "1 point differs"),
        (2, "differs", "2 points differ"),
    ],
)
def test_the_verb_follows_the_number(number: int, verb: str, words: str) -> None:
    assert subject(number, "point", verb) == words


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0.02, "less than a minute"), (37.4, "37 min"), (250.0, "250 min (4.2 h)")],
)
def test_short_times_are_not_zero(minutes: float, words: str) -> None:
    assert minutes_in_words(minutes) == words
