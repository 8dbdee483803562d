"""The page that follows one point through the modules is true of the imports."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES_MAX = 22


def modules() -> list[str]:
    """The modules of the section, in its order, as paths."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Follow one point\n")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)`", section, re.MULTILINE)


def imports_of(path: str) -> set[str]:
    """The modules that a module imports from, as paths; also inside functions."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {f"{name.replace('.', '/')}.py" for name in names if name is not None}


def test_a_point_passes_few_modules_from_the_scroll_to_the_rollback_manifest() -> None:
    found = modules()

    assert 0 < len(found) <= MODULES_MAX
    assert len(set(found)) == len(found)
    assert [path for path in found if not (ROOT / path).is_file()] == []


def test_each_module_on_the_way_imports_or_is_imported_by_one_before_it() -> None:
    found = modules()
    imports = {path: imports_of(path) for path in found}
    apart = [
        path
        for at, path in enumerate(found)
        if at
        and not imports[path] & set(found[:at])
        and not any(path in imports[earlier] for earlier in found[:at])
    ]

    assert apart == []
