"""Print q2v/runbook/messages.json: every message of an error with its advice, from the code.

`.venv/bin/python -m tools.messages > q2v/runbook/messages.json` writes it; a test compares it.
"""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from migrate import errors

ROOT = Path(__file__).parents[1]
PACKAGES = ("migrate", "reconcile", "q2v")
HOLE = "..."  # where a message holds a value
DAMAGED = "damaged"  # the function that makes an error of a file; its second argument is the text
WORDS_MIN = 3  # a text with fewer words of its own is made somewhere else


def entries() -> Iterator[dict[str, object]]:
    """Exit code, message and advice of every error that is raised with both as texts."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield from _entry(node)


def _entry(call: ast.Call) -> Iterator[dict[str, object]]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    remedies = [keyword.value for keyword in call.keywords if keyword.arg == "remedy"]
    is_damaged = name == DAMAGED
    kind = errors.ArtefactDamagedError if is_damaged else getattr(errors, name, None)
    at = 1 if is_damaged else 0
    if not remedies or kind is None or len(call.args) <= at:
        return
    message, advice = _text(call.args[at]), _text(remedies[0])
    if min(_words(message), _words(advice) + 1) >= WORDS_MIN:
        yield {"exit_code": int(kind.exit_code), "message": message, "advice": advice}


def _text(node: ast.expr) -> str:
    """A text with `...` for each value; nothing for what is made elsewhere."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(
                str(part.value) if isinstance(part, ast.Constant) else HOLE for part in parts
            )
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case _:
            return HOLE


def _words(text: str) -> int:
    return len([word for word in text.replace(HOLE, " ").split() if word.isalpha()])


def document() -> str:
    """The file: one entry a line, by exit code and message, without repetitions."""
    found = {json.dumps(entry, ensure_ascii=False, sort_keys=True): entry for entry in entries()}

    def place(line: str) -> tuple[object, str, str]:
        entry = found[line]
        return entry["exit_code"], str(entry["message"]).lower().lstrip(". :'"), line

    return "[\n" + ",\n".join(sorted(found, key=place)) + "\n]\n"


if __name__ == "__main__":
    sys.stdout.write(document())
