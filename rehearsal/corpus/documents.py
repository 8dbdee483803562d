"""Collect the documentation texts of the standard library, without importing its modules."""

import ast
import base64
import hashlib
import pydoc_data.topics
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DOCUMENT_CHARACTERS_MIN = 400
COMMENT_LINES_MIN = 3
# Test suites and vendored wheels are not documentation; site-packages is not part of Python.
_LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "ensurepip", "__pycache__"}
_ID_LENGTH = 33  # of a Drive file id; they start with 1
_EPOCH_DAYS = 3_650


@dataclass(frozen=True, slots=True)
class Document:
    """One file of the drive."""

    file_id: str  # 33 characters of the URL-safe base64 alphabet
    name: str
    path: str
    last_modified: str  # RFC 3339; derived from the name, no clock
    text: str


@cache  # a rehearsal needs them twice, and reading them takes seconds
def read_documents() -> Sequence[Document]:
    """Every document, by path. At least 300 on any supported Python."""
    found = [*_topics(), *_modules()]
    long = (document for document in found if len(document.text) >= DOCUMENT_CHARACTERS_MIN)
    return tuple(sorted(long, key=lambda document: document.path))


def _topics() -> Iterator[Document]:
    for name, text in pydoc_data.topics.topics.items():
        yield _document(f"{name}.txt", f"/reference/{name}.txt", text)


def _modules() -> Iterator[Document]:
    """One document per module of the standard library: its docstrings and longer comments."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        below = path.relative_to(root)
        if _LEFT_OUT & set(below.parts):
            continue
        content = path.read_bytes()
        text = "\n\n".join([*_docstrings(content), *_comments(content)])
        yield _document(path.name, f"/library/{below.as_posix()}", text)


def _comments(content: bytes) -> Iterator[str]:
    """Blocks of comment lines: where a module explains itself to its maintainers."""
    held: list[str] = []
    for line in [*content.decode(errors="replace").splitlines(), ""]:
        stripped = line.strip()
        if stripped.startswith("#"):
            held.append(stripped.lstrip("#").strip())
        elif held:
            if len(held) >= COMMENT_LINES_MIN:
                yield "\n".join(held)
            held = []


def _docstrings(content: bytes) -> Iterator[str]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return  # a file that is broken on purpose has no documentation
    for node in _documented(tree):
        text = ast.get_docstring(node)
        if text:
            yield text if isinstance(node, ast.Module) else f"{node.name}\n{text}"


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(node: _Documented) -> Iterator[_Documented]:
    """The module and every class and function in it; bodies of functions are not entered."""
    yield node
    if isinstance(node, ast.Module | ast.ClassDef):
        for inner in node.body:
            if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _documented(inner)


def _document(name: str, path: str, text: str) -> Document:
    digest = hashlib.sha256(path.encode()).digest()
    file_id = "1" + base64.urlsafe_b64encode(digest).decode()[: _ID_LENGTH - 1]
    day = int.from_bytes(digest[:4]) % _EPOCH_DAYS
    year, rest = divmod(day, 365)
    month, date = divmod(rest, 31)
    stamp = f"{2015 + year}-{month + 1:02d}-{min(date + 1, 28):02d}T12:00:00Z"
    return Document(file_id, name, path, stamp, text)
