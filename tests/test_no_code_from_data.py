"""No data becomes code, and no text becomes a shell command: read from the source itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.fault("X05")

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for name in ("q2v", "migrate", "reconcile", "sandbox", "tools")
    for path in (ROOT / name).rglob("*.py")
)
# Modules that start processes or turn bytes into objects and code.
BANNED_MODULES = {
    "pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "subprocess", "pty",
    "commands", "ctypes", "code", "codeop", "telnetlib", "xmlrpc",
}  # fmt: skip
# Who may start a process, and which: q2v itself, to rehearse its being killed; and the program that
# the operator names for an alert.
STARTS_PROCESSES = {"rehearsal/child_process.py", "q2v/watching/programs.py"}
BANNED_NAMES = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
BANNED_ATTRIBUTES = {
    "system", "popen", "spawnl", "spawnv", "spawnlp", "spawnvp", "execv", "execl", "execvp",
    "execlp", "execve", "fork", "posix_spawn", "allow_pickle", "create_subprocess_shell",
}  # fmt: skip


def offences(tree: ast.AST) -> Iterator[str]:
    """Every banned import, call and argument, with its line."""
    for node in ast.walk(tree):
        yield from (f"{getattr(node, 'lineno', 0)}: {text}" for text in _banned(node))


def _banned(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import() | ast.ImportFrom():
            yield from _banned_imports(node)
        case ast.Call(func=ast.Name(id=name)) if name in BANNED_NAMES:
            yield f"{name}()"
        case ast.Attribute(value=ast.Name(id="os" | "asyncio"), attr=name):
            if name in BANNED_ATTRIBUTES:
                yield name
        case ast.keyword(arg="shell" | "allow_pickle"):
            yield f"{node.arg}="
        case ast.keyword(arg="verify", value=ast.Constant(value=False)):
            yield "verify=False"


def _banned_imports(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
    names = [each.name for each in node.names]
    for name in [module] if module else names:
        if name.partition(".")[0] in BANNED_MODULES:
            yield f"import of {name}"
    if module == "os":
        yield from (f"import of os.{name}" for name in names if name in BANNED_ATTRIBUTES)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_file_turns_data_into_code_or_text_into_commands(path: Path) -> None:
    found = list(offences(ast.parse(path.read_bytes())))

    if path.relative_to(ROOT).as_posix() in STARTS_PROCESSES:
        found = [text for text in found if not text.endswith(": import of subprocess")]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import os, yaml.loader",
        "from subprocess import run",
        "from os import system",
        "os.system('x')",
        "eval('x')",
        "run(['x'], shell=True)",
        "numpy.load(f, allow_pickle=True)",
        "httpx.Client(verify=False)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert len(list(offences(ast.parse(line)))) == 1
