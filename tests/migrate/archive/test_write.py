"""What an archive holds, that its bytes depend on nothing else, and how it gets its name."""

import hashlib
import io
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.archive.write import read_formats_page
from migrate.errors import (
    ArtefactDamagedError,
    LocalStorageError,
    MigrationError,
    PreconditionError,
)
from migrate.model.sealed_json import seal_json
from migrate.run.choose.find import find_run
from migrate.storage.disk import Disk, use_disk
from migrate.storage.durable import TEMPORARY_SUFFIX
from migrate.storage.folder_lock import FolderLock
from migrate.storage.journal_lines import CHAIN_START, encode_line
from migrate.storage.layout import find_place
from tests.harness.fakes.steps import Fault
from tests.harness.world import World, open_world
from tests.migrate.archive.archives import archive, members, record_of, verify

ROOT = Path(__file__).parents[3]


def relative(directory: Path) -> dict[str, Path]:
    """Path below --dir -> file, of every file."""
    return {
        path.relative_to(directory).as_posix(): path
        for path in directory.rglob("*")
        if path.is_file()
    }


def held(content: bytes) -> dict[str, bytes]:
    """Path below the folder of the archive -> content, without its pages."""
    found = {path.partition("/")[2]: value for path, value in members(content).items()}
    return {path: value for path, value in found.items() if "/" in path}


def test_it_holds_every_file_of_the_chain_and_its_runs_as_it_is(left: Path, content: bytes) -> None:
    expected = {
        path: file.read_bytes() for path, file in relative(left).items() if not path.startswith(".")
    }

    assert held(content) == expected
    places = {place.path for path in expected if (place := find_place(path)) is not None}
    assert places >= {
        "<snapshot>/changes.parquet",
        "<snapshot>/runs/<run>/difference.parquet",
        "<snapshot>/runs/<run>/pre-images/removed.parquet",
        "<snapshot>/runs/<run>/reconcile/<n>/statement.json",
        "<snapshot>/runs/<run>/rollback/manifest.json",
    }


def test_it_begins_with_the_list_of_all_files_and_has_both_pages(content: bytes) -> None:
    found = members(content)
    (folder,) = {path.partition("/")[0] for path in found}
    first, *rest = found
    listed = record_of(content)["files"]

    assert first == f"{folder}/archive.json"
    assert rest == sorted(rest)
    assert listed == [
        {
            "path": path.removeprefix(f"{folder}/"),
            "bytes": len(found[path]),
            "sha256": hashlib.sha256(found[path]).hexdigest(),
        }
        for path in rest
    ]
    assert found[f"{folder}/formats.md"] == (ROOT / "docs" / "formats.md").read_bytes()
    assert found[f"{folder}/README.md"].startswith(b"# Archive of run ")


def test_the_formats_page_is_installed_with_the_library() -> None:
    assert read_formats_page() == (ROOT / "docs" / "formats.md").read_bytes()


def test_it_says_what_the_chain_is_and_that_it_is_final(content: bytes) -> None:
    record = record_of(content)
    chain, runs = record["chain"], record["runs"]
    assert isinstance(chain, list)
    assert isinstance(runs, list)

    assert (record["final"], record["why_not_final"]) == (True, None)
    assert [link["points"] for link in chain] == [40, 39]
    assert [run["phase"] for run in runs] == ["completed", "completed"]
    assert [[one["verdict"], one["current"]] for run in runs for one in run["verdicts"]] == [
        ["equal", True],
        ["equal", True],
    ]


NOT_PART_OF_IT = (
    ".lock",
    ".budget/requests",
    ".spill/table",
    ".source/copy-0/segment",
    "q2v-crash-1.log",
    "20200101T000000Z-aaaaaa-00/journal.jsonl",
    "{snapshot}/.manifest.json.q2v-tmp",
    "{snapshot}/parts/.part-00009.parquet.q2v-tmp",
    "{snapshot}/runs/{run}/STOP",
    "{snapshot}/runs/{run}/.DS_Store",
    "{snapshot}/runs/{run}/.spill/table",
    "{snapshot}/runs/{run}/reconcile/001/.report.json.q2v-tmp",
)


def test_locks_budgets_scratch_crash_logs_and_unfinished_files_are_not_in_it(
    directory: Path, content: bytes, tmp_path: Path
) -> None:
    for run in list(directory.glob("*/runs/*")):
        for name in NOT_PART_OF_IT:
            path = directory / name.format(snapshot=run.parent.parent.name, run=run.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("not part of it")

    report = archive(directory, tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == content
    assert report.left_out == ()


def test_files_that_q2v_does_not_know_are_named_and_left_out(
    directory: Path, content: bytes, tmp_path: Path
) -> None:
    (snapshot, *_) = sorted(directory.glob("2*"))
    (run,) = (snapshot / "runs").iterdir()
    (snapshot / "notes.txt").write_text("mine")
    (snapshot / "parts" / "part-00099.parquet").write_text("of another snapshot")
    (run / "my notes.txt").write_text("a blank in its name")
    (snapshot / "runs" / "777-20270101T000000Z").mkdir()

    report = archive(directory, tmp_path / "a")

    assert (tmp_path / "a").read_bytes() == content
    assert report.left_out == (
        f"{snapshot.name}/notes.txt",
        f"{snapshot.name}/parts/part-00099.parquet",
        f"{snapshot.name}/runs/{run.name}/my notes.txt",
        f"{snapshot.name}/runs/777-20270101T000000Z",
    )


def test_folders_of_a_run_that_come_later_are_in_it(directory: Path, tmp_path: Path) -> None:
    run = max(directory.glob("*/runs/*"))
    (run / "later" / "001").mkdir(parents=True)
    (run / "later" / "001" / "evidence.json").write_text("{}")

    archive(directory, tmp_path / "a")

    found = held((tmp_path / "a").read_bytes())
    assert found[f"{run.relative_to(directory)}/later/001/evidence.json"] == b"{}"


@pytest.mark.fault("I8")
def test_the_bytes_depend_on_the_files_alone(
    directory: Path, content: bytes, tmp_path: Path
) -> None:
    for number, path in enumerate(relative(directory).values()):
        os.utime(path, (number, number))
        path.chmod(0o644)

    report = archive(directory, tmp_path / "of any name.bin")

    assert (tmp_path / "of any name.bin").read_bytes() == content
    assert (report.bytes, report.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.fault("A05")
def test_a_second_time_the_archive_is_checked_and_kept(directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    first = archive(directory, out)
    stamp = out.stat().st_mtime_ns
    second = archive(directory, out)

    assert (first.reused, second.reused) == (False, True)
    assert (second.bytes, second.sha256) == (first.bytes, first.sha256)
    assert out.stat().st_mtime_ns == stamp


@pytest.mark.fault("A05")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"something else",
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:-200] + bytes([content[-200] ^ 1]) + content[-199:],
    ],
    ids=["foreign", "empty", "cut", "flipped"],
)
def test_other_content_under_that_name_is_kept_and_refused(
    left: Path, content: bytes, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    out = tmp_path / "a"
    out.write_bytes(spoil(content))

    with pytest.raises(PreconditionError, match="exists with other content") as caught:
        archive(left, out)
    assert "--out" in caught.value.remedy
    assert out.read_bytes() == spoil(content)


@pytest.mark.fault("A05")
def test_an_archive_of_an_earlier_state_is_kept_and_refused(
    directory: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    archive(directory, out)
    before = out.read_bytes()
    run = max(directory.glob("*/runs/*"))
    (run / "gate").mkdir()
    (run / "gate" / "001.json").write_bytes(seal_json({"format": 1}))

    with pytest.raises(PreconditionError, match="in an earlier state"):
        archive(directory, out)
    assert out.read_bytes() == before


class RottenDisk(Disk):
    """Writes another bit than it was given, in the temporary file of an archive."""

    def __init__(self, at: int) -> None:
        self._at = at

    @override
    def sync(self, file: io.FileIO) -> None:
        path = Path(f"/proc/self/fd/{file.fileno()}").readlink()
        if path.name == f".a{TEMPORARY_SUFFIX}":
            with path.open("r+b") as again:
                again.seek(self._at)
                (byte,) = again.read(1)
                again.seek(self._at)
                again.write(bytes([byte ^ 16]))
        super().sync(file)


@pytest.mark.fault("A02")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.999])
def test_what_the_disk_gives_back_is_compared_before_the_file_gets_its_name(
    left: Path, content: bytes, tmp_path: Path, share: float
) -> None:
    with (
        use_disk(RottenDisk(int(len(content) * share))),
        pytest.raises(ArtefactDamagedError, match="does not pass its check") as caught,
    ):
        archive(left, tmp_path / "out" / "a")

    assert "no archive was kept" in caught.value.remedy
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.fault("A02")
def test_too_small_a_disk_is_found_before_anything_is_written(left: Path, tmp_path: Path) -> None:
    class FullDisk(Disk):
        @override
        def free_bytes(self, folder: Path) -> int:
            return 1_000

        @override
        def create(self, path: Path) -> io.FileIO:
            assert not path.name.startswith(".a"), "the archive was begun"
            return super().create(path)

    with use_disk(FullDisk()), pytest.raises(LocalStorageError, match="has 1,000 free") as caught:
        archive(left, tmp_path / "a")
    assert "--out" in caught.value.remedy
    assert not (tmp_path / "a").exists()


def test_a_file_that_changes_meanwhile_is_refused(directory: Path, tmp_path: Path) -> None:
    """By another program: q2v itself is kept out by the lock."""
    reads: list[Path] = []

    class BusyDisk(Disk):
        @override
        def free_bytes(self, folder: Path) -> int:
            """Between the reading of the files and their packing."""
            for path in directory.glob("*/runs/*/reconcile/*/report.html"):
                path.write_text("another page")
                reads.append(path)
            return super().free_bytes(folder)

    with use_disk(BusyDisk()), pytest.raises(ArtefactDamagedError, match="changed while it was"):
        archive(directory, tmp_path / "a")
    assert reads
    assert not (tmp_path / "a").exists()


def _add_gate_and_monitor(directory: Path) -> None:
    """What `q2v gate` and `q2v monitor` leave, as far as an archive looks at it."""
    run = min(directory.glob("*/runs/*"))
    for name in ("gate", "monitor"):
        (run / name).mkdir()
    (run / "gate" / "001.json").write_bytes(seal_json({"format": 1, "verdict": "go"}))
    entry, _ = encode_line({"type": "look", "format": 1, "verdict": "consistent"}, CHAIN_START)
    (run / "monitor" / "journal.jsonl").write_bytes(entry)


def test_gates_and_looks_of_the_monitor_are_in_it(directory: Path, tmp_path: Path) -> None:
    _add_gate_and_monitor(directory)
    archive(directory, tmp_path / "a")
    found = held((tmp_path / "a").read_bytes())

    for name in ("gate/001.json", "monitor/journal.jsonl"):
        (path,) = directory.glob(f"*/runs/*/{name}")
        assert found[path.relative_to(directory).as_posix()] == path.read_bytes()
    assert verify((tmp_path / "a").read_bytes()).runs == 2


@pytest.mark.fault("S07", "G16")
@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("*/parts/part-00001.parquet", "part-00001.parquet"),
        ("*/changes.parquet", "changes.parquet"),
        ("*/runs/*/targets.parquet", "targets.parquet"),
        ("*/runs/*/pre-images/kv.parquet", "kv.parquet"),
        ("*/runs/*/journal.jsonl", "journal.jsonl"),
        ("*/runs/*/reconcile/001/report.json", "report.json"),
        ("*/runs/*/reconcile/001/extra.ids", "extra.ids"),
        ("*/journal.jsonl", "journal.jsonl"),
        ("*/runs/*/rollback/manifest.json", "manifest.json"),
        ("*/runs/*/gate/001.json", "001.json"),
        ("*/runs/*/monitor/journal.jsonl", "monitor/journal.jsonl"),
    ],
)
def test_damage_in_the_folder_is_named_and_nothing_is_written(
    directory: Path, tmp_path: Path, pattern: str, said: str
) -> None:
    _add_gate_and_monitor(directory)
    path = min(directory.glob(pattern))
    content = bytearray(path.read_bytes() or b"\n")
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(ArtefactDamagedError, match=said):
        archive(directory, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["parts", "runs"])
def test_a_link_is_not_followed(directory: Path, tmp_path: Path, name: str) -> None:
    (snapshot, *_) = sorted(directory.glob("2*"))
    if name == "parts":
        part = snapshot / "parts" / "part-00000.parquet"
        shutil.move(part, tmp_path / "elsewhere")
        part.symlink_to(tmp_path / "elsewhere")
    else:
        (run,) = (snapshot / "runs").iterdir()
        (tmp_path / "secret").write_text("of somebody else")
        (run / "notes").symlink_to(tmp_path / "secret")

    with pytest.raises(LocalStorageError):
        archive(directory, tmp_path / "a")
    assert not (tmp_path / "a").exists()


# --- final, or why not ---------------------------------------------------------------------------


def _killed(world: World) -> None:
    world.snapshot()
    with world.striking(Fault.KILL, at=60):
        world.migrate()


def _complete(world: World) -> None:
    world.snapshot()
    world.migrate()


def _compared(world: World) -> None:
    _complete(world)
    assert world.reconcile().verdict == "equal"


def _rolled_back(world: World) -> None:
    _compared(world)
    world.roll_back()


def _written_since(world: World) -> None:
    """Something is journalled after the reconcile that said equal."""
    _compared(world)
    with FolderLock(world.directory), closing(find_run(world.directory, None, None)) as run:
        run.waive(["refused"])


def _drifted(world: World) -> None:
    _complete(world)
    world.edit_source()
    assert world.reconcile().verdict == "drift"


def _begun_again(world: World) -> None:
    _compared(world)
    (run,) = world.directory.path.glob("*/runs/*")
    shutil.copytree(run / "reconcile" / "001", run / "reconcile" / "002")
    (run / "reconcile" / "002" / "report.json").unlink()
    journal = run / "reconcile" / "002" / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))


OBSTACLES = [
    (_killed, "the run is not complete", "q2v migrate"),
    (_complete, "not compared since its last write", "q2v reconcile"),
    (_written_since, "not compared since its last write", "q2v reconcile"),
    (_rolled_back, "the run is rolled back", "q2v migrate"),
    (_drifted, "the source is not what the snapshot holds", "q2v catch-up --frozen"),
    (_begun_again, "a reconcile was interrupted", "q2v reconcile"),
]


@pytest.mark.slow
@pytest.mark.fault("A04")
@pytest.mark.parametrize(("act", "said", "remedy"), OBSTACLES)
def test_a_run_that_is_not_final_needs_consent_and_says_why(
    tmp_path: Path, act: Callable[[World], None], said: str, remedy: str
) -> None:
    with open_world(tmp_path) as world, world.calm():
        act(world)
    directory, out = tmp_path / "snapshots", tmp_path / "a"

    with pytest.raises(PreconditionError, match=said) as caught:
        archive(directory, out)
    assert remedy in caught.value.remedy
    assert "q2v archive --not-final" in caught.value.remedy
    assert not out.exists()

    report = archive(directory, out, not_final=True)
    assert report.record.final is False
    assert said in str(report.record.why_not_final)
    assert verify(out.read_bytes()).record == report.record
    assert f"It is not final: {report.record.why_not_final}." in _readme(out)


def _readme(out: Path) -> str:
    return next(
        value.decode()
        for path, value in members(out.read_bytes()).items()
        if path.endswith("/README.md")
    )


@pytest.mark.fault("A04")
def test_consent_does_not_make_a_final_run_unfinal(
    left: Path, content: bytes, tmp_path: Path
) -> None:
    archive(left, tmp_path / "a", not_final=True)

    assert (tmp_path / "a").read_bytes() == content


@pytest.mark.fault("A04")
def test_a_run_that_a_catch_up_continues_is_not_final_and_takes_its_own_chain_only(
    left: Path, tmp_path: Path
) -> None:
    first = min(left.glob("*/runs/*"))

    with pytest.raises(PreconditionError, match="a newer run of the same collection"):
        archive(left, tmp_path / "a", run=first)
    report = archive(left, tmp_path / "a", run=first, not_final=True)

    assert [link.snapshot_id for link in report.record.chain] == [first.parent.parent.name]
    assert verify((tmp_path / "a").read_bytes()).runs == 1


@pytest.mark.fault("A04")
def test_changes_that_no_run_has_moved_yet_are_in_the_way(directory: Path, tmp_path: Path) -> None:
    newest = max(directory.glob("*/runs/*"))
    shutil.rmtree(newest)

    with pytest.raises(PreconditionError, match="no run has moved it") as caught:
        archive(directory, tmp_path / "a")
    assert "q2v migrate" in caught.value.remedy


def test_no_run_is_no_archive(tmp_path: Path) -> None:
    with open_world(tmp_path) as world, world.calm():
        world.snapshot()

    with pytest.raises(MigrationError, match="no run under"):
        archive(tmp_path / "snapshots", tmp_path / "a")
