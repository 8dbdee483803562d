"""The commit that `q2v --version` names, wherever it was started from."""

from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from q2v.main import cli
from q2v.rules.stages import TOOL
from q2v.version import DISTRIBUTION, read_commit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BRANCH = "refs/heads/a/b"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_wheel_names_the_commit_in_a_file(tmp_path: Path) -> None:
    write(tmp_path / "q2v" / "COMMIT", "aaaaaaaaaaaa\n")
    write(tmp_path / ".git" / "HEAD", f"{COMMIT}\n")

    assert read_commit(tmp_path) == "aaaaaaaaaaaa"


def test_a_detached_head_is_the_commit(tmp_path: Path) -> None:
    write(tmp_path / ".git" / "HEAD", f"{COMMIT}\n")

    assert read_commit(tmp_path) == COMMIT[:12]


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (BRANCH, f"{COMMIT}\n"),
        ("packed-refs", f"# pack-refs with: peeled\n{'f' * 40} refs/heads/x\n{COMMIT} {BRANCH}\n"),
    ],
)
def test_a_branch_leads_to_the_commit(tmp_path: Path, place: str, text: str) -> None:
    write(tmp_path / ".git" / "HEAD", f"ref: {BRANCH}\n")
    write(tmp_path / ".git" / place, text)

    assert read_commit(tmp_path) == COMMIT[:12]


def test_a_linked_worktree_shares_the_branches_of_the_main_one(tmp_path: Path) -> None:
    folder = tmp_path / "main" / ".git" / "worktrees" / "w"
    write(tmp_path / "w" / ".git", f"gitdir: {folder}\n")
    write(folder / "HEAD", f"ref: {BRANCH}\n")
    write(folder / "commondir", "../..\n")
    write(tmp_path / "main" / ".git" / BRANCH, f"{COMMIT}\n")

    assert read_commit(tmp_path / "w") == COMMIT[:12]


@pytest.mark.parametrize("head", [None, f"ref: {BRANCH}\n"])
def test_without_a_commit_it_is_unknown(tmp_path: Path, head: str | None) -> None:
    if head is not None:
        write(tmp_path / ".git" / "HEAD", head)

    assert read_commit(tmp_path) == "unknown"


def test_the_command_prints_name_version_and_commit() -> None:
    result = CliRunner().invoke(cli, ["--version"])

    assert result.exit_code == 0
    assert result.output == f"q2v {version(DISTRIBUTION)} (commit {read_commit()})\n"


def test_documents_name_the_version_without_the_commit() -> None:
    """A resumed run or a second snapshot of the same points does not differ by the commit."""
    assert f"q2v {version(DISTRIBUTION)}" == TOOL
