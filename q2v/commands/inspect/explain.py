"""`q2v explain`: what a word of q2v's output means, and what to do."""

from difflib import get_close_matches

import click

from migrate.errors import UsageError
from q2v.options import json_option
from q2v.output.render import write_document, write_line
from q2v.output.screen.wrapping import wrapped
from q2v.words.entry import Word
from q2v.words.lookup import look_up, words

_SHOWN_MAX = 5  # of several messages that hold a text
_TYPED_SHOWN_MAX = 80  # characters


@click.command("explain")
@click.argument("word", nargs=-1, required=False)
@json_option
def command(*, word: tuple[str, ...], as_json: bool) -> None:
    """Say what WORD means and what to do: a reason, a class of drift, an exit code, a message.

    WORD may be a part of an error message. Without WORD all names are listed. Reads nothing.
    """
    text = " ".join(word).strip()
    found = look_up(text) if text else list(words())
    if not found:
        names = sorted({each.name for each in words() if " " not in each.name})
        near = ", ".join(get_close_matches(text.lower(), names, n=3))
        shown = text if len(text) <= _TYPED_SHOWN_MAX else f"{text[:_TYPED_SHOWN_MAX]}..."
        raise UsageError(
            f"{shown!r}: found no word of q2v by this name, and no message that holds it",
            remedy=(f"near it: {near}; " if near else "") + "`q2v explain` lists all words",
        )
    if as_json:
        write_document({"words": found})
    elif text:
        _show(found)
    else:
        _list(found)


def _show(found: list[Word]) -> None:
    for number, word in enumerate(found[:_SHOWN_MAX]):
        if number:
            write_line("")
        for line in wrapped(f"{word.name} - {word.kind}" if word.name != word.means else word.kind):
            write_line(line)
        lines = wrapped(word.means, first="  ", then="  ")
        lines += wrapped(word.advice, first="  -> ", then="     ") if word.advice else []
        for line in lines:
            write_line(line)
    left = len(found) - _SHOWN_MAX
    if left > 0:
        write_line("")
        write_line(f"{left} more hold this text: give more of the message")


def _list(found: list[Word]) -> None:
    """Every name below its kind."""
    kinds = dict.fromkeys(word.kind for word in found)
    for kind in kinds:
        write_line(f"{kind}:")
        names = ", ".join(_name(word) for word in found if word.kind == kind)
        for line in wrapped(names, first="  ", then="  "):
            write_line(line)


def _name(word: Word) -> str:
    return word.written_as or word.name
