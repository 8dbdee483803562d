"""What a canary is: one bug planted on purpose, and the test that has to meet it."""

import ast
import functools
from dataclasses import dataclass
from textwrap import dedent, indent


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A bug that could be written in good faith: the code still runs, and mostly works.

    `old` occurs exactly once in `file`; `new` takes its place. Both are compared and planted as
    `ast.unparse` writes them, so that comments, line breaks and quotes do not matter.
    """

    name: str
    effect: str  # what it would do in production, one clause
    file: str
    old: str
    new: str
    test: str  # pytest id; a function stands for all of its cases

    def occurrences(self, whole: str) -> int:
        """How often `old` is in this text of `file`."""
        return _whole(whole).count(_fragment(self.old))

    def plant(self, whole: str) -> str:
        """The text of `file` with the bug in it."""
        return _whole(whole).replace(_fragment(self.old), _fragment(self.new))


def code(depth: int, *lines: str) -> str:
    """Whole lines of code, `depth` levels deep."""
    return indent("".join(f"{line}\n" for line in lines), "    " * depth)


@functools.lru_cache(maxsize=64)  # most files have several canaries
def _whole(text: str) -> str:
    return ast.unparse(ast.parse(text)) + "\n"


def _fragment(text: str) -> str:
    """Code that may begin or end within a statement, as `ast.unparse` writes it where it can.

    Its indentation and a newline at its end stay: they tell whole lines from parts of one. What
    ends with a comma is arguments of a call, which stand in the line of the call.
    """
    body = dedent(text)
    if body.rstrip().endswith(","):
        return ast.unparse(ast.parse(f"_({body})")).removeprefix("_(").removesuffix(")")
    margin = text[: text.find(body[:1])] if body else ""
    written = _statements(body.rstrip("\n"))
    return indent(written, margin) + ("\n" if text.endswith("\n") else "")


def _statements(body: str) -> str:
    """Whole statements, the head of a compound one, or line by line whichever it is."""
    last = body.splitlines()[-1] if body else ""
    inner = " " * (len(last) - len(last.lstrip()) + 4)
    for ending in ("", f"\n{inner}pass"):
        try:
            written = ast.unparse(ast.parse(body + ending))
        except SyntaxError:
            continue
        return written.removesuffix(ending)
    if "\n" not in body:
        return body
    return "\n".join(indent(_statements(line.strip()), _margin(line)) for line in body.split("\n"))


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
