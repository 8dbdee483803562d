"""Wheels built from a copy of this tree, and environments with what the wheels require."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.harness.running.programs import run_program

ROOT = Path(__file__).parents[2]
COMMIT = "abcdef1234567890abcdef1234567890abcdef12"
PARTS = ("q2v", "migrate", "reconcile", "sandbox", "rehearsal")
# Links in a package lead there.
LINKED = (
    "docs/formats.md",
    "worker/src",
    "worker/kit",
    "worker/test/example",
    "worker/package.json",
    "worker/tsconfig.json",
    "worker/vitest.config.ts",
    "worker/verifier.wrangler.jsonc",
)
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
BUILT_AT = "1800000000"  # for SOURCE_DATE_EPOCH


def run(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has to succeed. Python settings of the tests are not passed on."""
    done = run_program(*words, cwd=folder, env={**without_python_settings(), **environment})
    done.check_returncode()
    return done


def without_python_settings() -> dict[str, str]:
    """The environment without what would show this tree to another Python."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def copy_tree(folder: Path, *, commit: str | None) -> Path:
    """The files that a build reads, and as much of git as names a commit."""
    for name in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "build")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, symlinks=True)
    for name in LINKED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            shutil.copy(ROOT / name, folder / name)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    if commit is not None:
        (folder / ".git").mkdir()
        (folder / ".git" / "HEAD").write_text(f"{commit}\n", encoding="utf-8")
    return folder


def build_wheels(tree: Path, *, into: Path) -> list[Path]:
    """The wheel of the tool and that of its extra, in this order; nothing is fetched."""
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    run(
        *(*words, "--no-index", "-w", str(into), ".", "./rehearsal"),
        folder=tree,
        SOURCE_DATE_EPOCH=BUILT_AT,
    )
    return sorted(into.glob("*.whl"))


def make_environment(folder: Path, wheels: Iterable[Path], *, extras: frozenset[str]) -> Path:
    """A virtual environment with these wheels and, linked into it, only what they require.

    Returns its folder of programs.
    """
    run(sys.executable, "-m", "venv", "--without-pip", str(folder), folder=folder.parent)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    run(*pip, "install", "--no-deps", "--no-index", *map(str, wheels), folder=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    ours: dict[str, Distribution] = {
        canonicalize_name(each.name): each for each in distributions(path=[str(site)])
    }
    for name in _required(ours, extras=extras) - ours.keys():
        for top in {file.parts[0] for file in distribution(name).files or ()}:
            found = Path(str(distribution(name).locate_file(top)))
            if top not in {"..", "__pycache__"} and not (site / top).exists():
                (site / top).symlink_to(found)
    return programs


def _required(ours: dict[str, Distribution], *, extras: frozenset[str]) -> set[str]:
    """Names of everything that the distributions require, and what those require."""
    seen: set[tuple[str, str]] = set()
    open_ones = [(name, extra) for name in ours for extra in ("", *extras)]
    while open_ones:
        name, extra = open_ones.pop()
        if (name, extra) not in seen:
            seen.add((name, extra))
            open_ones += _asked_by(ours.get(name) or distribution(name), extra)
    return {name for name, _ in seen}


def _asked_by(found: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    for text in found.requires or ():
        asked = Requirement(text)
        if asked.marker is None or asked.marker.evaluate({"extra": extra}):
            yield from ((canonicalize_name(asked.name), each) for each in ("", *asked.extras))
