"""What texts tell an operator to set, type or run: from the strings of the code and from pages."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from typing_extensions import override

from q2v.settings.sections import SECTIONS

ROOT = Path(__file__).parents[3]
PACKAGES = ("migrate", "reconcile", "q2v", "sandbox")
_HOLE = "\N{OBJECT REPLACEMENT CHARACTER}"  # where an f-string puts a value

SETTING = re.compile(rf"(?<![\w./-])((?:{'|'.join(SECTIONS)})\.[a-z][a-z0-9_]*)(?![\w(/-]|\.\w)")
FLAG = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*)")
COMMAND = re.compile(r"(?:`|next: |run |then )q2v ([a-z][a-z-]*)([^`\n" + _HOLE + r"]*)")
VARIABLE = re.compile(r"\b((?:Q2V|QDRANT|CLOUDFLARE)_[A-Z][A-Z0-9_]*)")
MAKE = re.compile(r"(?:`|run: )make ([a-z][a-z-]*)")


@dataclass(frozen=True, slots=True)
class Text:
    """One text and where it stands."""

    path: Path
    line: int
    text: str

    @override
    def __str__(self) -> str:
        """As an assertion shows it."""
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.text!r}"


@cache
def code_texts(path: Path) -> tuple[Text, ...]:
    """Every string of a module, f-strings as one text with holes, docstrings too."""
    return tuple(_texts(path, ast.parse(path.read_text(encoding="utf-8"))))


def _texts(path: Path, node: ast.AST) -> Iterator[Text]:
    match node:
        case ast.JoinedStr(values=parts):
            joined = "".join(
                str(part.value) if isinstance(part, ast.Constant) else _HOLE for part in parts
            )
            yield Text(path, node.lineno, joined)
            for part in parts:
                if isinstance(part, ast.FormattedValue):
                    yield from _texts(path, part.value)
        case ast.Constant(value=str() as text):
            yield Text(path, node.lineno, text)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _texts(path, child)


def messages(path: Path) -> Iterator[Text]:
    """The strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    yield from (text for text in code_texts(path) if text.line not in docs)


def modules() -> list[Path]:
    """Every module of the product."""
    return [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]


@cache
def imports(path: Path) -> frozenset[Path]:
    """The modules of the product that a module imports, wherever in it the import stands."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                found.update(_places(alias.name for alias in names))
            case ast.ImportFrom(module=str() as module, names=names):
                found.update(_places([module, *(f"{module}.{alias.name}" for alias in names)]))
            case _:
                pass
    return frozenset(found)


def _places(names: "Iterator[str] | list[str]") -> Iterator[Path]:
    for name in names:
        base = ROOT.joinpath(*name.split("."))
        for place in (base.with_suffix(".py"), base / "__init__.py"):
            if place.is_file() and name.split(".")[0] in PACKAGES:
                yield place


@cache
def reachable(path: Path) -> frozenset[Path]:
    """A module with everything that it imports, and what that imports."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(imports(module))
    return frozenset(seen)
