"""The order of the writes exists once: `migrate/migrate.py`."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = {"capture_pre_images", "open_round", "upload_vectors", "write_kv_index"}


@cache
def calls_of(path: Path) -> frozenset[str]:
    """The names of the functions that a module calls."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    return frozenset(one.id for one in calls if isinstance(one, ast.Name))


@pytest.mark.slow
@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_writing_stage_is_called_by_the_use_case_alone(stage: str) -> None:
    """A second sequence, in a command or in a harness, would not be the one that is tested."""
    products = [ROOT / name for name in ("migrate", "reconcile", "q2v", "sandbox", "benchmarks")]
    modules = [path for folder in products for path in sorted(folder.rglob("*.py"))]
    callers = [path for path in modules if stage in calls_of(path)]

    assert callers == [ROOT / "migrate" / "migrate.py"]
