"""docs/tutorial.md runs as written, and prints what it shows.

After a change: `ACCEPT_TUTORIAL=1 .venv/bin/python -m pytest tests/e2e/move/test_tutorial.py`
writes the outputs into the page; then read the difference that git shows.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

import pytest

from tests.q2v.screens.plain import plain

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "tutorial.md"
ACCEPT = "ACCEPT_TUTORIAL"
OTHER_SHELL = "<!-- in another shell -->"
CLONE_IN_PAGE = "/home/you/q2v"
PORT_IN_PAGE = "8787"
_BLOCK = re.compile(rf"({OTHER_SHELL}\n)?```console\n(.*?)```\n", re.DOTALL)
_NAMESPACE = re.compile(r"(?<=Q2V_KV_NAMESPACE_ID=)[0-9a-f]{32}")
_CREATED = re.compile(r"^KV namespace +([0-9a-f]{32}) \(", re.MULTILINE)
# As often as the machine is slow: a bar, a pause, and what is asked again after one.
_PROGRESS = re.compile(
    r"\(\d+%\)|^waiting (until |\d)|: reading (it|them) again|^reading vectors again"
    r"|again in [\d.]+ s$|^reading the KV index: "
)
_REQUESTS = re.compile(r"^requests +\d+$")  # waiting asks as often as it has to
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_AGES = re.compile(r"N (?:ms|s|min)(?: N s)?")
_MARK = "--- end of a command, exit "


@dataclass
class Shell:
    """A bash in which the commands of the page run one after the other."""

    process: "subprocess.Popen[str]"

    def run(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        after = f"__code=$?; echo '{_MARK}'$__code; (exit $__code)"
        self.process.stdin.write(f"{command} </dev/null\n{after}\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line.startswith(_MARK):
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended in {command}: {''.join(lines)}")


@contextmanager
def _shell(clone: Path) -> Iterator[Shell]:
    """Without the settings of the one who runs the tests."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(clone), "LANG": "C.UTF-8"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    with subprocess.Popen(
        ["/bin/bash", "--noprofile", "--norc"],
        cwd=clone,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Shell(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def _other_shell(clone: Path, command: str) -> Iterator[str]:
    """Run a command that does not end by itself; the first line that it prints."""
    with _shell(clone) as shell:
        assert shell.process.stdin is not None
        assert shell.process.stdout is not None
        for line in ('export PATH="$PWD/.venv/bin:$PATH"', "cd build/tutorial", f"exec {command}"):
            shell.process.stdin.write(f"{line}\n")
        shell.process.stdin.flush()
        try:
            yield shell.process.stdout.readline()
        finally:
            shell.process.terminate()


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _commands(block: str) -> list[str]:
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def _run_page(page: str, clone: Path) -> str:
    """The page with what its commands print here."""
    port, namespace = str(_free_port()), ""
    blocks = []
    with ExitStack() as running:
        shell = running.enter_context(_shell(clone))
        for is_other, text in _BLOCK.findall(page):
            lines = []
            for shown in _commands(text):
                command = _NAMESPACE.sub(namespace, shown.replace(PORT_IN_PAGE, port))
                if is_other:
                    printed = running.enter_context(_other_shell(clone, command))
                else:
                    printed = shell.run(command)
                if found := _CREATED.search(printed):
                    namespace = found[1]
                lines += [f"$ {command}\n", printed]
            block = "".join(lines).replace(str(clone), CLONE_IN_PAGE)
            blocks.append(re.sub(rf"(?<=[ :]){port}\b", PORT_IN_PAGE, block))
    made = iter(blocks)
    return _BLOCK.sub(lambda found: f"{found[1] or ''}```console\n{next(made)}```\n", page)


def _same(page: str) -> list[str]:
    """The page without what differs from one run to the next."""
    lines = [line for line in page.splitlines() if not _PROGRESS.search(line)]
    lines = [_REQUESTS.sub("requests N", _SHA256.sub("SHA256", line)) for line in lines]
    text = plain(lines, {})
    return " ".join(_AGES.sub(r"N s", text).split()).split("$ ")


@pytest.mark.slow
def test_the_tutorial_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in (".venv", "examples"):
        (clone / name).symlink_to(ROOT / name)
    page = PAGE.read_text(encoding="utf-8")

    found = _run_page(page, clone)

    if os.environ.get(ACCEPT):
        PAGE.write_text(found, encoding="utf-8")
        page = found
    assert len(_commands(page)) > 25
    # Of a page of 500 lines, a failure shows the commands that differ and nothing else.
    assert not [*unified_diff(_same(page), _same(found), "the page", "here", n=0, lineterm="")]
