"""A stranger finds their way: folders hold few modules, and the settings stay small."""

import ast

from tests.docs.named import PACKAGES, ROOT

PARAMETERS_MAX = 7  # of a function
MODULES_MAX = 12  # of a folder, its __init__.py not counted
SETTINGS_LINES_MAX = 500


def test_no_folder_has_more_modules_than_one_reads_at_a_glance() -> None:
    folders = {path.parent for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    counts = {
        str(folder.relative_to(ROOT)): len(set(folder.glob("*.py")) - {folder / "__init__.py"})
        for folder in folders
    }

    assert {folder: count for folder, count in counts.items() if count > MODULES_MAX} == {}
    assert "migrate/upload" in counts


def test_no_function_has_more_parameters_than_one_remembers() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{function.name}": len(parameters)
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        and len(parameters := _parameters(function)) > PARAMETERS_MAX
    }

    assert found == {}
    assert PACKAGES


def _parameters(function: ast.FunctionDef) -> list[str]:
    """Without `self` and `cls`."""
    given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return [one.arg for one in given if one.arg not in {"self", "cls"}]


def test_the_settings_stay_small() -> None:
    modules = list((ROOT / "q2v" / "settings").glob("*.py"))
    lines = sum(len(module.read_text(encoding="utf-8").splitlines()) for module in modules)

    assert modules
    assert lines <= SETTINGS_LINES_MAX
