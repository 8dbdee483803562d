"""`q2v plan --out FILE`, then `q2v migrate FILE`: exactly that plan, or a refusal in words."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from migrate.errors import ExitCode
from sandbox.profile import INSTANT
from tests.e2e.processes import wait_until
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import Result

POINTS = 30


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with workbench(tmp_path, points(POINTS)) as bench:
        yield bench


def save(bench: Workbench, *words: str) -> str:
    file = str(bench.folder / "agreed.json")
    saved = bench.run("plan", *words, "--out", file)
    assert saved.exit_code == 0, saved.stderr
    assert saved.document["saved"]["file"] == file
    return file


def nothing_written(bench: Workbench, before: str) -> bool:
    return bench.state() == before and not list(bench.directory.glob("*/runs/*/plan.json"))


def refused(bench: Workbench, file: str, before: str) -> str:
    """The refusal; nothing was written."""
    result = bench.run("migrate", file)
    assert result.exit_code == ExitCode.PRECONDITION, result.stderr
    assert nothing_written(bench, before)
    error = result.document["error"]
    assert "q2v plan --out FILE" in error["next"]
    return str(error["what"])


@pytest.mark.slow
def test_a_plan_of_the_source_is_carried_out_from_the_snapshot_that_follows(
    bench: Workbench,
) -> None:
    file = save(bench)
    assert bench.run("snapshot").exit_code == 0
    done = bench.run("migrate", file)

    assert done.exit_code == 0, done.stderr
    assert done.document["saved_plan"]["file"] == file
    assert bench.run("reconcile").document["verdict"] == "equal"
    again = bench.run("migrate", file)
    assert (again.exit_code, again.document["run_id"]) == (0, done.document["run_id"])


@pytest.mark.slow
def test_a_plan_of_a_snapshot_names_it_although_a_newer_one_is_there(bench: Workbench) -> None:
    first = bench.run("snapshot").document["snapshot_id"]
    file = save(bench, first)
    following = bench.run("plan", first, "--out", file).document["next"]
    bench.collection.points = bench.collection.points[1:]
    assert bench.run("snapshot").document["snapshot_id"] != first

    done = bench.run_as_typed([*following.split()[1:], "--json"])

    assert following.startswith(f"q2v migrate {file}")
    assert (done.exit_code, done.document["snapshot_id"]) == (0, first)


@pytest.mark.slow
def test_a_plan_made_before_provision_fits_what_provision_makes(tmp_path: Path) -> None:
    with workbench(tmp_path, points(POINTS), provision=False) as bench:
        file = save(bench)
        bench.provision()
        assert bench.run("snapshot").exit_code == 0
        assert bench.run("migrate", file).exit_code == 0


@pytest.mark.slow
def test_equal_states_give_equal_fingerprints(bench: Workbench) -> None:
    one, other = (json.loads(Path(save(bench)).read_bytes()) for _ in range(2))

    measured = {"created_at", "shown", "sha256"}
    assert {name: part for name, part in one.items() if name not in measured} == {
        name: part for name, part in other.items() if name not in measured
    }


# --- what may have moved ------------------------------------------------------------------------


def _add_a_point(bench: Workbench) -> None:
    bench.collection.points = points(POINTS + 1)


def _change_a_point(bench: Workbench) -> None:
    changed = points(POINTS)
    changed[7].payload["text"] = "other words"  # type: ignore[index]
    bench.collection.points = changed


def _swap_two_values(bench: Workbench) -> None:
    changed = points(POINTS)
    changed[3], changed[4] = (
        replace(one, vectors=other.vectors)
        for one, other in ((changed[3], changed[4]), (changed[4], changed[3]))
    )
    bench.collection.points = changed


@pytest.mark.slow
@pytest.mark.fault("F29")
@pytest.mark.parametrize(
    ("move", "words"),
    [
        (_add_a_point, f"points: planned {POINTS}, now {POINTS + 1}"),
        (_change_a_point, "vectors by content: planned digest "),
        (_swap_two_values, "vectors by content: planned digest "),
    ],
    ids=["added", "payload", "values"],
)
def test_a_source_that_has_moved_is_refused(
    bench: Workbench, move: Callable[[Workbench], None], words: str
) -> None:
    file = save(bench)
    move(bench)
    assert bench.run("snapshot").exit_code == 0
    before = bench.state()

    assert words in refused(bench, file, before)


@pytest.mark.slow
@pytest.mark.fault("F29")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Q2V_KV_KEY_TEMPLATE", "f:{file_id}", 'kv.key_template: planned "file:{file_id}", now'),
        ("Q2V_LIMITS_VECTORS_PER_UPLOAD", "7", "limits.vectors_per_upload: planned 2500, now 7"),
        ("Q2V_TARGET_METADATA_INDEXES", "file_id:string,chunk_index:number", "metadata_indexes"),
        ("CLOUDFLARE_ACCOUNT_ID", "0" * 32, "account with fingerprint: planned "),
        ("Q2V_VECTOR_INDEX", "another", "vector index: planned "),
        ("Q2V_KV_NAMESPACE_ID", "0" * 32, "KV namespace: planned "),
    ],
)
def test_other_settings_are_refused_before_anything_is_asked(
    bench: Workbench, name: str, value: str, words: str
) -> None:
    file = save(bench)
    assert bench.run("snapshot").exit_code == 0
    before, asked = bench.state(), len(bench.sandbox.requests)
    kept = bench.environment.get(name)
    bench.environment[name] = value
    result = bench.run("migrate", file)
    bench.environment.pop(name)
    if kept is not None:
        bench.environment[name] = kept

    assert result.exit_code == ExitCode.PRECONDITION
    assert words in result.document["error"]["what"]
    assert len(bench.sandbox.requests) == asked
    assert nothing_written(bench, before)


def _fill_the_index(bench: Workbench) -> str:
    values = np.zeros(DIMENSIONS, np.float32)
    values[0] = 1.0
    bench.sandbox.store.put_vector(bench.index, "foreign", values, None)
    return "the vector index holds: planned 0 vectors, now 1 vector"


def _fill_the_namespace(bench: Workbench) -> str:
    bench.sandbox.store.put_kv(bench.namespace_id, "foreign", b"1")
    return "the KV namespace holds: planned 0 keys, now 1 key"


def _make_another_index(bench: Workbench) -> str:
    answer = httpx.delete(
        f"{bench.sandbox.base_url}/accounts/{bench.sandbox.account_id}"
        f"/vectorize/v2/indexes/{bench.index}",
        headers={"Authorization": f"Bearer {bench.environment['CLOUDFLARE_API_TOKEN']}"},
        timeout=60,
    )
    assert answer.is_success
    assert bench.run("provision").exit_code == 0
    return "vector index created: planned "


@pytest.mark.slow
@pytest.mark.fault("F29")
@pytest.mark.parametrize("move", [_fill_the_index, _fill_the_namespace, _make_another_index])
def test_a_target_that_has_moved_is_refused(
    bench: Workbench, move: Callable[[Workbench], str]
) -> None:
    file = save(bench)
    assert bench.run("snapshot").exit_code == 0
    words = move(bench)
    before = bench.state()

    assert words in refused(bench, file, before)


@pytest.mark.slow
@pytest.mark.fault("F29")
def test_a_run_of_another_plan_is_not_continued_under_this_one(bench: Workbench) -> None:
    file = save(bench)
    _change_a_point(bench)
    assert bench.move().exit_code == 0
    before = bench.state()
    result = bench.run("migrate", file)

    assert result.exit_code == ExitCode.PRECONDITION
    assert "vectors by content: planned" in result.document["error"]["what"]
    assert bench.state() == before


@pytest.mark.slow
@pytest.mark.fault("C02")
def test_a_run_that_was_killed_is_continued_with_the_same_file(tmp_path: Path) -> None:
    profile = replace(INSTANT, name="slow-commits", commit_delay_s=0.2)
    with workbench(tmp_path, points(POINTS), profile=profile) as bench:
        file = save(bench)
        assert bench.run("snapshot").exit_code == 0
        assert bench.run("migrate", file, "--dry-run").document["dry_run"] is True
        process = bench.start("migrate", file)
        wait_until(process, lambda: bool(bench.uploads()))
        process.kill()
        process.communicate()

        assert bench.run("migrate", file).exit_code == 0
        assert bench.run("reconcile").document["verdict"] == "equal"
        assert len(list(bench.directory.glob("*/runs/*/plan.json"))) == 1


# --- the file -----------------------------------------------------------------------------------


def changed(file: Path, at: int) -> bytes:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    return bytes(content)


@pytest.mark.slow
@pytest.mark.fault("F19")
def test_any_changed_byte_of_the_file_is_found(bench: Workbench) -> None:
    file = Path(save(bench))
    assert bench.run("snapshot").exit_code == 0
    whole, before = file.read_bytes(), bench.state()
    codes: set[int] = set()
    for at in range(0, len(whole), len(whole) // 40):
        file.write_bytes(changed(file, at))
        codes.add(bench.run("migrate", str(file)).exit_code)
        file.write_bytes(whole)
    file.write_bytes(whole[: len(whole) // 2])
    cut = bench.run("migrate", str(file))

    assert codes <= {ExitCode.USAGE, ExitCode.DAMAGED, ExitCode.FOREIGN}
    assert cut.exit_code == ExitCode.DAMAGED
    assert nothing_written(bench, before)


@pytest.mark.fault("F19")
def test_a_plan_that_was_not_sealed_with_the_key_is_refused(bench: Workbench) -> None:
    file = save(bench)
    assert bench.run("snapshot").exit_code == 0
    bench.environment["Q2V_SNAPSHOT_HMAC_KEY"] = "k" * 40

    assert bench.run("migrate", file).exit_code == ExitCode.DAMAGED


@pytest.mark.slow
def test_a_file_that_is_no_saved_plan_is_refused(bench: Workbench) -> None:
    assert bench.move().exit_code == 0
    (plan,) = bench.directory.glob("*/runs/*/plan.json")
    other = bench.run("migrate", str(plan))

    assert other.exit_code == ExitCode.USAGE
    assert "found a file of another kind" in other.document["error"]["what"]


@pytest.mark.slow
def test_the_command_for_a_plan_with_any_name_carries_it_out(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    taken = bench.run("snapshot").document["path"]
    planned = bench.run("plan", taken, "--out=-agreed plan").document

    done = bench.run_as_typed(planned["next_argv"][1:])

    assert planned["next_argv"][2] == "./-agreed plan"
    assert done.exit_code == ExitCode.DONE, done.stderr


def test_a_name_of_nothing_and_a_target_that_is_not_configured_are_said_in_words(
    bench: Workbench,
) -> None:
    file = save(bench)
    missing = bench.run("migrate", f"{file}.old")
    index = bench.environment.pop("Q2V_VECTOR_INDEX")
    unset = bench.run("migrate", file)
    bench.environment["Q2V_VECTOR_INDEX"] = index

    assert missing.exit_code == ExitCode.USAGE
    assert "found no file or folder of this name" in missing.stderr
    assert unset.exit_code == ExitCode.PRECONDITION
    assert f"vector index: planned {index}, now not configured" in unset.stderr


def test_a_plan_without_a_target_and_one_that_does_not_fit_are_not_saved(bench: Workbench) -> None:
    file = bench.folder / "agreed.json"

    def plan(*words: str) -> Result:
        return bench.run("plan", *words, "--out", str(file))

    assert plan("--deadline-s", "1").exit_code == ExitCode.PRECONDITION
    token = bench.environment.pop("CLOUDFLARE_API_TOKEN")
    unset = plan()
    bench.environment["CLOUDFLARE_API_TOKEN"] = token

    assert unset.exit_code == ExitCode.USAGE
    assert "CLOUDFLARE_API_TOKEN" in unset.document["error"]["next"]
    assert not file.exists()
