"""A stranger finds their way: few modules a folder, few parameters, one name for one thing."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.texts.named import ROOT

PRODUCT = ("migrate", "reconcile", "q2v", "rehearsal", "sandbox", "benchmarks", "tools", "examples")
PYTHON = (*PRODUCT, "tests")
PARAMETERS_MAX = 7  # of a function, `self` and `cls` not counted
MODULES_MAX = 12  # of a folder, its __init__.py not counted
SETTINGS_LINES_MAX = 500
# Short names of libraries, and names for what two libraries call the same.
ALIASES = {
    *("np", "npt", "pa", "pc", "pq", "st", "AbstractSet"),
    *("wire", "edge", "engine"),  # qdrant_client.grpc beside grpc; qdrant_edge
    *("LangChainStore", "LlamaIndexStore"),
}
AS = re.compile(
    r"^(?:from [\w.]+ )?(?:import )?[\w, ]*?\b([\w.]+) as (\w+)\b[, \w]*$", re.MULTILINE
)
# A table of settings, a line each, which a longer name would break.
ABBREVIATED = {("q2v/settings/sections.py", "rules")}


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_no_folder_has_more_modules_than_one_reads_at_a_glance() -> None:
    worker = [
        path for part in ("src", "test", "kit") for path in (ROOT / "worker" / part).rglob("*.ts")
    ]
    counts = Counter(
        str(path.parent.relative_to(ROOT))
        for path in (*modules(*PYTHON), *worker)
        if path.name != "__init__.py"
    )

    assert {folder: count for folder, count in counts.items() if count > MODULES_MAX} == {}
    assert {"migrate/upload", "tests/docs", "worker/src/client"} <= set(counts)


@pytest.mark.slow
def test_no_function_has_more_parameters_than_one_remembers() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{function.name}": count
        for path in modules(*PRODUCT)
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and (count := count_parameters(function.args)) > PARAMETERS_MAX
    }

    assert found == {}


def count_parameters(given: ast.arguments) -> int:
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    others = [one for one in (given.vararg, given.kwarg) if one is not None]
    return len([one for one in named if one.arg not in {"self", "cls"}]) + len(others)


def renamed(path: Path) -> list[str]:
    """The names that a module gives to what it imports, where they are other names."""
    text = path.read_text(encoding="utf-8")
    names = {name for was, name in AS.findall(text) if name != was}
    if names <= ALIASES:  # most modules: they need not be parsed
        return []
    return [
        name.asname
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
        if name.asname is not None and name.asname not in {name.name, *ALIASES}
    ]


@pytest.mark.slow
def test_nothing_is_imported_under_another_name() -> None:
    found = {
        (str(path.relative_to(ROOT)), name) for path in modules(*PYTHON) for name in renamed(path)
    }

    assert found == ABBREVIATED


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from migrate.run.journal import Kind as JournalKind", ["JournalKind"]),
        ("import reconcile.report as reports", ["reports"]),
        ("from migrate.errors import ExitCode as ExitCode", []),
        ("import numpy as np", []),
    ],
)
def test_another_name_is_found(line: str, found: list[str], tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(line, encoding="utf-8")

    assert renamed(module) == found


def test_the_settings_stay_small() -> None:
    files = list((ROOT / "q2v" / "settings").glob("*.py"))
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)

    assert files
    assert lines <= SETTINGS_LINES_MAX
