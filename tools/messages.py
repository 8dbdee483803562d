"""Print q2v/runbook/messages.json: every message of an error with its advice, from the code.

Texts that are a part of a message, or that a command says while it works, follow: each with what
its module is about. `.venv/bin/python -m tools.messages > q2v/runbook/messages.json` writes the
file; a test compares it.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from migrate import errors
from tools.texts import HOLE, Code, Module, Place, own_text, read_code

ROOT = Path(__file__).parents[1]
PACKAGES = ("migrate", "reconcile", "q2v", "rehearsal")
ADVICE_MAX = 4  # ways of one message
WORDS_MIN = 3  # a text with fewer words of its own is made somewhere else
# What is written to pages, files and help texts, or explained by its name already.
MARKS = ".,:;()'`\""  # at a word
SQL = re.compile(r"\s*(ALTER|ATTACH|COPY|CREATE|DELETE|DROP|INSERT|SELECT|UPDATE|WITH) ")
ELSEWHERE = (
    "migrate/archive/readme.py",
    "q2v/commands/__init__.py",
    "migrate/mapping/shapes",
    "migrate/run/next_step.py",
    "migrate/storage/layout.py",
    "migrate/wrangler/env_types.py",
    "q2v/runbook",
    "q2v/words",
    "q2v/worker",
    "reconcile/page",
)


def entries(code: Code) -> Iterator[dict[str, object]]:
    """Exit code, message and advice of every error that is raised."""
    for name, calls in code.calls.items():
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, errors.MigrationError):
            for place, call in calls:
                yield from _error(code, place, call, kind)


def _error(
    code: Code, place: Place, call: ast.Call, kind: type[errors.MigrationError]
) -> Iterator[dict[str, object]]:
    remedies = [each.value for each in call.keywords if each.arg == "remedy"]
    if not remedies or not call.args:
        return
    advice = [text for text in code.texts(remedies[0], place) if _words(text)]
    forms = [text for text in code.texts(call.args[0], place) if _words(text) >= WORDS_MIN]
    whole = own_text(call.args[0])
    rows = [(whole, forms)] if _words(whole) >= WORDS_MIN else [(form, []) for form in forms]
    for message, others in rows:
        forms = [form for form in others if form != message]
        yield {
            "exit_code": int(kind.exit_code),
            "message": message,
            "advice": "; or: ".join(advice[:ADVICE_MAX]),
            **({"forms": forms} if forms else {}),
        }


def parts(code: Code, known: str) -> Iterator[dict[str, object]]:
    """Every other text that a command may print; `known` holds the texts of all errors."""
    for module in code.modules.values():
        if any(str(module.path).startswith(place) for place in ELSEWHERE):
            continue
        for text in _literals(module):
            is_said = _words(text) >= WORDS_MIN and not SQL.match(text)
            if is_said and not _is_known(text, known):
                yield {"exit_code": None, "message": text, "advice": "", "from": module.means}


def _is_known(text: str, known: str) -> bool:
    return all(piece in known for piece in text.split(HOLE))


def _literals(module: Module) -> Iterator[str]:
    """Texts that are no documentation, and no part of another one."""

    def below(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Expr(value=ast.Constant()) | ast.Assert():
                    continue
                case ast.Constant(value=str() as text):
                    yield text
                case ast.JoinedStr(values=values):
                    yield own_text(child)
                    yield from (text for each in values for text in below(each))
                case ast.FunctionDef() | ast.ClassDef():
                    yield from (text for each in child.body for text in below_one(each))
                case _:
                    yield from below(child)

    def below_one(node: ast.stmt) -> Iterator[str]:
        yield from below(ast.Module(body=[node], type_ignores=[]))

    yield from below(module.tree)


def _words(text: str) -> int:
    some = text.replace(HOLE, " ").replace("-", "").split()
    return len([word for word in some if word.strip(MARKS).isalpha()])


def document() -> str:
    """The file: one entry a line, errors by exit code and message, without repetitions."""
    code = read_code(ROOT, PACKAGES)
    found = _lines(entries(code))
    known = "\n".join(str(text) for entry in found.values() for text in entry.values())
    others = _lines(parts(code, known))

    def place(line: str) -> tuple[object, str, str]:
        entry = found[line]
        return entry["exit_code"], str(entry["message"]).lower().lstrip(". :'"), line

    return "[\n" + ",\n".join((*sorted(found, key=place), *sorted(others))) + "\n]\n"


def _lines(made: Iterator[dict[str, object]]) -> dict[str, dict[str, object]]:
    return {json.dumps(entry, ensure_ascii=False, sort_keys=True): entry for entry in made}


if __name__ == "__main__":
    sys.stdout.write(document())
