"""Which q2v this is: the version of the distribution and the commit it was built from."""

import os
import platform
import pwd
from importlib.metadata import version
from pathlib import Path

DISTRIBUTION = "qdrant-to-vectorize"
COMMIT_FILE = "COMMIT"  # beside this module in a wheel; written by setup.py
COMMIT_DIGITS = 12
UNKNOWN = "unknown"


def describe_version() -> str:
    """One line: name, version, commit; e.g. "q2v 0.1.0 (commit abcdef123456)"."""
    return f"q2v {version(DISTRIBUTION)} (commit {read_commit()})"


def made_by() -> dict[str, str]:
    """Who compares with what, for a report: tool, commit, Python, system, and user at host."""
    system = os.uname()
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number without a name
        user = str(os.getuid())
    return {
        "tool": f"q2v {version(DISTRIBUTION)}",
        "commit": read_commit(),
        "python": platform.python_version(),
        "system": f"{system.sysname} {system.release} {system.machine}",
        "operator": f"{user}@{system.nodename}",
    }


def read_commit(root: Path | None = None) -> str:
    """The first 12 digits of the commit; "unknown" in a tree without git.

    A wheel or source archive names it in a file. Otherwise it is what HEAD of the git repository
    in `root` points to (default: the folder above this package), whether or not files differ from
    it. Git itself is not called.
    """
    root = Path(__file__).resolve().parents[1] if root is None else root
    try:
        written = root / "q2v" / COMMIT_FILE
        if written.is_file():
            return written.read_text(encoding="utf-8").strip()
        return _read_head(_git_folder(root / ".git"))[:COMMIT_DIGITS]
    except (OSError, ValueError):
        return UNKNOWN


def _git_folder(path: Path) -> Path:
    """The repository's data; in a linked worktree `path` is a file that names its folder."""
    if path.is_dir():
        return path
    return path.parent / path.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")


def _read_head(folder: Path) -> str:
    head = (folder / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    shared = folder / "commondir"  # a linked worktree keeps its branches with the main one
    refs = folder / shared.read_text(encoding="utf-8").strip() if shared.is_file() else folder
    if (refs / name).is_file():
        return (refs / name).read_text(encoding="utf-8").strip()
    for line in (refs / "packed-refs").read_text(encoding="utf-8").splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name:
            return commit
    raise ValueError(f"{name} names no commit")
