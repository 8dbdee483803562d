"""A disk that is really full: exit 9 in plain words, nothing lost, and with room it goes on.

On a small tmpfs where the machine allows mounts; and everywhere with a limit on the size of every
file, which strikes in the middle of a write as well.
"""

import contextlib
import json
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from migrate.storage.layout import BUDGET
from tests.harness.running.programs import run_program
from tests.harness.running.target import put_former_content
from tests.harness.running.target_reader import TargetContent
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import Result

pytestmark = pytest.mark.usefixtures("real_storage")
LEVELS, SEED = 3, 20261125
LEVELS_OF_SEARCH, SEED_OF_SEARCH = 20, 1
REAL_PROCESSES = 1  # of the levels on a tmpfs; in the others the commands run within this process
LEVELS_TOO = 1  # of the limit on the size of files, where the tmpfs has done the work
POINTS = 300
TWO_PAGES = 2 * 4_096
DISK_BYTES = 4 * 1024 * 1024
COMMANDS = {
    "snapshot": ["snapshot"],
    "migrate": ["migrate", "--into-non-empty"],
    "reconcile": ["reconcile"],
    "rollback": ["rollback", "--execute"],
}
# The last is what SQLite says, whose file the request budget is.
SAYS = ("No space left on device", "File too large", "database or disk is full")

RunCommand = Callable[[Workbench, list[str]], Result]
Scarcity = Callable[[str], contextlib.AbstractContextManager[RunCommand]]  # by command


def kept_files(bench: Workbench) -> dict[Path, bytes]:
    """Every file that is not rewritten in place by every command."""
    return {
        path: path.read_bytes()
        for path in bench.files()
        if BUDGET not in path.parts and path.name != ".lock"
    }


@dataclass(slots=True)
class Undisturbed:
    """What a life with enough room needs and leaves, by command."""

    bytes_needed: dict[str, int] = field(default_factory=dict)  # of the disk
    largest_bytes: dict[str, int] = field(default_factory=dict)  # of the files it wrote
    requests: dict[str, int] = field(default_factory=dict)  # to the target
    content: dict[str, TargetContent] = field(default_factory=dict)  # of the target, after it


@contextlib.contextmanager
def living(folder: Path, directory: Path) -> Iterator[Workbench]:
    """A workbench with its --dir in `directory`; its target holds content of another writer."""
    settings = {"Q2V_LIMITS_VECTORS_PER_UPLOAD": "10"}
    with workbench(folder, points(POINTS), settings=settings) as bench:
        ours = ["file-0000_0", "file-0003_2"]
        put_former_content(bench.sandbox.store, bench.namespace_id, ours=ours)
        bench.directory = directory
        yield bench


def live_undisturbed(folder: Path, directory: Path) -> Undisturbed:
    """Every command once, with room."""
    found = Undisturbed()
    with living(folder, directory) as bench:
        for name, words in COMMANDS.items():
            free, requests = _free_bytes(directory.parent), len(bench.sandbox.requests)
            former = kept_files(bench)
            done = bench.run(*words)
            assert done.exit_code == 0, done.stderr
            needed = free - _free_bytes(directory.parent)  # less, when it clears something away
            found.bytes_needed[name] = max(needed, TWO_PAGES)
            files = kept_files(bench)
            new = [files[path] for path in files if files[path] != former.get(path)]
            found.largest_bytes[name] = max(map(len, new))
            found.requests[name] = len(bench.sandbox.requests) - requests
            found.content[name] = bench.content()
    return found


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def strike(bench: Workbench, name: str, truth: Undisturbed, scarcity: Scarcity) -> str | None:
    """A command while room is scarce, then again with room; returns which file was struck."""
    words = COMMANDS[name]
    files, requests = kept_files(bench), len(bench.sandbox.requests)
    with scarcity(name) as run:
        result = run(bench, words)
        sent = len(bench.sandbox.requests) - requests
        assert sent <= truth.requests[name], f"{name}: {sent} requests on a full disk"
        assert not list(bench.directory.rglob(".*.q2v-tmp")), f"{name} left temporary files"
    _check_former(files, kept_files(bench))
    if result.exit_code == 0:
        return None
    struck = _check_told(name, result)
    acknowledged, uploads = bench.acknowledged(), len(bench.uploads())
    again = bench.run(*words)
    assert again.exit_code == 0, f"{name} after {struck}: {again.stderr}"
    assert not acknowledged & set(bench.uploads()[uploads:]), "acknowledged uploads sent again"
    return struck


def _check_former(before: dict[Path, bytes], after: dict[Path, bytes]) -> None:
    """What was there is there: journals have grown, everything else has its bytes."""
    for path, content in before.items():
        assert path in after, f"{path.name} is gone"
        kept = after[path][: len(content)] if path.name == "journal.jsonl" else after[path]
        assert kept == content, f"{path.name} was changed"


def _check_told(name: str, result: Result) -> str:
    """Exit 9, the reason, the file, and the next step; returns the kind of file."""
    assert result.exit_code == 9, f"{name}: exit {result.exit_code}: {result.stderr}"
    error = json.loads(result.stdout)["error"]
    assert any(reason in error["what"] for reason in SAYS), error
    assert "then run the same command again" in error["next"], error
    assert error["what"] in result.stderr
    found = re.search(r"(\S+): (?:No space|File too|database or disk)", error["what"])
    assert found is not None, error
    return re.sub(r"-\d+", "", Path(found[1]).name)


def live_struck(bench: Workbench, truth: Undisturbed, scarcity: Scarcity) -> list[str]:
    """All commands, each struck and then left alone; returns which files were struck."""
    before = bench.content().encode()
    struck = []
    for name in COMMANDS:
        struck.append(strike(bench, name, truth, scarcity))
        assert truth.content[name].encode() == bench.content().encode(), f"{name}: another content"
        if name == "migrate":
            report = bench.run("reconcile", "--fresh")
            assert report.document["verdict"] == "equal"
    assert before == bench.content().encode(), "the rollback left something"
    return [one for one in struck if one is not None]


# --- a tmpfs ----------------------------------------------------------------------------------


@contextlib.contextmanager
def tmpfs(folder: Path) -> Iterator[None]:
    """A small file system in `folder`. Raises PermissionError where nobody may mount one."""
    folder.mkdir()
    options = f"size={DISK_BYTES},mode=700"
    mounted = _called("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    if not mounted:
        raise PermissionError("no tmpfs can be mounted")
    try:
        yield
    finally:
        _called("umount", "--lazy", str(folder))


def _called(program: str, *words: str) -> bool:
    path = shutil.which(program)
    return path is not None and not run_program(path, *words).returncode


@contextlib.contextmanager
def ballast(disk: Path, run: RunCommand, *, leaving_bytes: int) -> Iterator[RunCommand]:
    """Leave only so much room while the block runs, in whole pages."""
    path = disk / "ballast"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, _free_bytes(disk) - leaving_bytes))
    try:
        yield run
    finally:
        path.unlink()


def _within(bench: Workbench, words: list[str]) -> Result:
    return bench.run(*words)


def _as_a_process(bench: Workbench, words: list[str]) -> Result:
    return bench.run_process(*words)


@pytest.mark.slow
@pytest.mark.fault("G04")
@pytest.mark.parametrize(
    ("levels", "seed"),
    [
        (LEVELS, SEED),
        pytest.param(LEVELS_OF_SEARCH, SEED_OF_SEARCH, marks=pytest.mark.search),
    ],
)
def test_a_full_tmpfs_loses_nothing_and_with_room_it_goes_on(
    tmp_path: Path, levels: int, seed: int, record_property: Callable[[str, object], None]
) -> None:
    """Levels drawn from a seed, at each of them every command."""
    chance = random.Random(seed)
    struck: Counter[str] = Counter()
    disk = tmp_path / "disk"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(tmpfs(disk))
        except PermissionError as error:
            pytest.skip(f"{error}; the limit on the size of files has to do")
        truth = live_undisturbed(tmp_path / "calm", disk / "calm")
        shutil.rmtree(disk / "calm")
        for level in range(levels):
            run = _as_a_process if level < REAL_PROCESSES else _within

            def scarcity(
                name: str, run: RunCommand = run
            ) -> contextlib.AbstractContextManager[RunCommand]:
                leaving_bytes = chance.randrange(truth.bytes_needed[name])
                return ballast(disk, run, leaving_bytes=leaving_bytes)

            with living(tmp_path / f"level-{level}", disk / f"level-{level}") as bench:
                struck.update(live_struck(bench, truth, scarcity))
            shutil.rmtree(disk / f"level-{level}")

    assert struck.total() > levels * len(COMMANDS) / 2
    _tell(record_property, f"a real tmpfs, {levels} fill levels", struck)


def _tell(record_property: Callable[[str, object], None], how: str, struck: Counter[str]) -> None:
    where = ", ".join(f"{name} {count}" for name, count in sorted(struck.items()))
    record_property("told", f"disk full: {how}, {struck.total()} strikes: {where}")


# --- a limit on the size of files -------------------------------------------------------------

_LIMITED = """
import resource
import sys
sys.dont_write_bytecode = True  # else Python leaves compiled code that is cut off at the limit
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
import q2v.main
q2v.main.main()
"""


def _limited(bytes_max: int) -> RunCommand:
    """A process whose files may not grow beyond so much."""

    def run(bench: Workbench, words: list[str]) -> Result:
        # As after five minutes: else the stamps of earlier commands are over the limit already.
        (bench.directory / BUDGET / "requests").unlink(missing_ok=True)
        return bench.run_process(*words, program=_LIMITED.format(bytes_max))

    return run


@pytest.mark.slow
@pytest.mark.fault("G04")
def test_a_limit_on_the_size_of_files_loses_nothing_either(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Real processes; at all levels where no tmpfs can be mounted, else at a few."""
    chance = random.Random(SEED)
    struck: Counter[str] = Counter()
    levels = LEVELS_TOO if _may_mount(tmp_path / "trial") else LEVELS
    (tmp_path / "calm").mkdir()
    truth = live_undisturbed(tmp_path / "calm", tmp_path / "calm" / "snapshots")

    def scarcity(name: str) -> contextlib.AbstractContextManager[RunCommand]:
        return contextlib.nullcontext(_limited(chance.randrange(truth.largest_bytes[name])))

    for level in range(levels):
        folder = tmp_path / f"level-{level}"
        with living(folder, folder / "snapshots") as bench:
            struck.update(live_struck(bench, truth, scarcity))

    assert struck.total() > levels * len(COMMANDS) / 2
    _tell(record_property, f"a limit on the size of files, {levels} levels", struck)


def _may_mount(folder: Path) -> bool:
    with contextlib.suppress(PermissionError), tmpfs(folder):
        return True
    return False
