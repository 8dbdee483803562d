"""Build steps that pyproject.toml cannot declare: the commit goes into wheel and source archive."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from q2v.version import COMMIT_FILE, read_commit  # noqa: E402 - needs the line above


def write_commit(package_root: Path) -> None:
    """Write the commit of this tree beside the packages of a build."""
    (package_root / "q2v" / COMMIT_FILE).write_text(read_commit() + "\n", encoding="utf-8")


class BuildWithCommit(build_py):
    """The packages, and the commit they are built from. An editable install reads it from git."""

    def run(self) -> None:
        """Copy the packages, then write the commit."""
        super().run()
        if not self.editable_mode:
            write_commit(Path(self.build_lib))


class SdistWithCommit(sdist):
    """A source archive has no git, so it carries the commit as a file."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy the files, then write the commit."""
        super().make_release_tree(base_dir, files)
        write_commit(Path(base_dir))


setup(cmdclass={"build_py": BuildWithCommit, "sdist": SdistWithCommit})
