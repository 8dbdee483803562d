"""Files, clock, randomness and network each have one way in, so that a test can stand there."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("migrate", "reconcile", "q2v")

# Methods of Path (and of open files' owners) that touch a disk, whatever the object is called.
TOUCHES_DISK = {
    *("open", "read_bytes", "read_text", "write_bytes", "write_text", "touch", "unlink", "rmdir"),
    *("mkdir", "rename", "symlink_to", "hardlink_to", "chmod", "iterdir", "glob", "rglob", "stat"),
    *("lstat", "exists", "is_file", "is_dir", "is_symlink", "resolve", "samefile"),
}
MODULES = {
    "files": {"shutil", "tempfile", "fcntl", "fileinput", "mmap"},
    "clock": {"time", "sched"},
    "randomness": {"random", "secrets"},
    "network": {"socket", "ssl", "http", "httpx", "httpcore", "urllib.request", "grpc"},
}
# Who may, and why.
ALLOWED = {
    "files": {
        "migrate/storage/disk.py": "the seam",
        "migrate/qdrant/folder/source.py": "reads what the engine wrote into a copy",
        "migrate/qdrant/folder/layout.py": "looks at the store of another program",
        "migrate/qdrant/folder/copy.py": "copies the store of another program",
        "migrate/qdrant/folder/local_mode/source.py": "names the store of another program",
        "migrate/transport/trust.py": "a trust store that the operator names",
        # SQLite opens, locks and writes its file itself, past the disk of the tests. What a kill, a
        # full disk and a power cut leave of it is tested with real files: test_budget.py and
        # test_budget_after_kills.py.
        "migrate/cloudflare/budget/departures.py": "the kernel's name of this boot; SQLite's file",
        "q2v/version.py": "which commit the program is: a part of the program, not of its data",
        "q2v/watching/programs.py": "finds the program that the operator names",
        "q2v/secret_files.py": "opens secrets under stricter rules than any file of ours",
    },
    "clock": {"migrate/clock.py": "the seam"},
    "randomness": {
        "q2v/wiring.py": "picks the jitter and the nonces that HTTP clients are given",
        "migrate/qdrant/retry.py": "a type; the generator is given",
        "migrate/qdrant/source.py": "the default of an option",
        "reconcile/sampling.py": "seeded: the same sample every time",
    },
    "network": {
        "migrate/transport/deadline.py": "the seam of both services",
        "migrate/transport/trust.py": "the authorities that TLS trusts",
        "migrate/cloudflare/client/wire.py": "the seam of the target, given to all above it",
        "migrate/cloudflare/client/client.py": "names the library's errors",
        "migrate/cloudflare/client/faults.py": "names the library's errors",
        "migrate/cloudflare/verifier/client.py": "the seam of the verifier, given to all above it",
        "migrate/storage/folder_lock.py": "the name of this host, for the lock's holder",
    },
}
SOURCE_ADAPTERS = "migrate/qdrant/"  # the source's own clients, one shell each


@cache
def _modules() -> list[tuple[str, ast.Module]]:
    return [
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"), str(path)))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.lineno, node.module


def _disk_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls like `path.exists()`; those of the seam itself (`disk().exists(...)`) are its use."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="open")):
                yield node.lineno, "open"
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in TOUCHES_DISK:
                match owner:
                    case ast.Call(func=ast.Name(id="disk")):
                        continue
                    case ast.Name(id="os") if name != "open":
                        continue
                yield node.lineno, name


@cache
def _imported() -> list[tuple[str, int, str]]:
    return [(name, *found) for name, tree in _modules() for found in _imports(tree)]


@pytest.mark.slow
@pytest.mark.parametrize("seam", MODULES)
def test_one_module_each_is_the_way_in(seam: str) -> None:
    found = {
        f"{name}:{line} imports {module}"
        for name, line, module in _imported()
        if (module in MODULES[seam] or module.partition(".")[0] in MODULES[seam])
        and name not in ALLOWED[seam]
        and not (seam == "network" and name.startswith(SOURCE_ADAPTERS))
        and module not in {"urllib.parse", "http"}
    }
    assert not found


@pytest.mark.slow
def test_nothing_but_the_disk_touches_a_file() -> None:
    found = {
        f"{name}:{line} calls {call}"
        for name, tree in _modules()
        for line, call in _disk_calls(tree)
        if name not in ALLOWED["files"]
    }
    assert not found


def test_the_list_of_exceptions_names_no_module_that_is_gone() -> None:
    names = {name for allowed in ALLOWED.values() for name in allowed}
    assert {name for name in names if not (ROOT / name).is_file()} == set()
