"""A command names what it reads and where it goes, and refuses what the settings do not mean."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.target import INDEX
from tests.harness.running.workbench import Workbench, points, workbench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A finished run of the collection 'chunks', and nothing else in the folder."""
    with workbench(tmp_path_factory.mktemp("route"), points(20)) as bench:
        assert bench.move().exit_code == 0
        yield bench


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    "words",
    [
        ("plan", "SNAPSHOT"),
        ("provision",),
        ("migrate",),
        ("migrate", "--dry-run"),
        ("migrate", "SNAPSHOT"),
        ("reconcile",),
        ("snapshot", "--repair-part", "0"),
    ],
    ids=" ".join,
)
def test_a_snapshot_of_another_collection_is_refused_with_both_names(
    words: tuple[str, ...], bench: Workbench
) -> None:
    before, sent = bench.state(), len(bench.sandbox.requests)
    bench.collection.name = "invoices"
    bench.environment["QDRANT_COLLECTION"] = "invoices"
    try:
        result = bench.run(*_named(bench, words))
    finally:
        bench.collection.name = bench.environment["QDRANT_COLLECTION"] = "chunks"

    error = result.document["error"]
    assert result.exit_code == ExitCode.FOREIGN, result.stderr
    assert "is of collection 'chunks', source.collection is 'invoices'" in error["what"]
    assert "environment QDRANT_COLLECTION" in error["what"]
    assert "q2v snapshot" in error["next"]
    assert "set source.collection to 'chunks'" in error["next"]
    assert before == bench.state()
    assert sent == len(bench.sandbox.requests), "nothing was sent to the target"


@pytest.mark.slow
@pytest.mark.fault("F12")
def test_the_refusal_names_the_newest_snapshot_of_the_wanted_collection(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        wanted = bench.run("snapshot").document["path"]
        bench.collection.name = bench.environment["QDRANT_COLLECTION"] = "invoices"
        other = bench.run("snapshot").document["path"]
        bench.collection.name = bench.environment["QDRANT_COLLECTION"] = "chunks"

        refused = bench.run("migrate")
        moved = bench.run("migrate", wanted)

    assert wanted != other
    assert refused.exit_code == ExitCode.FOREIGN
    assert f"name the newest snapshot of 'chunks', {wanted}" in refused.document["error"]["next"]
    assert moved.exit_code == 0, "the advice works when it is followed"
    assert moved.document["route"]["collection"] == "chunks"


@pytest.mark.fault("F12")
@pytest.mark.parametrize("execute", [False, True])
@pytest.mark.parametrize(
    ("flag", "typed", "words", "planned"),
    [
        ("--vector-index", "bemch", "vector index", INDEX),
        ("--kv-namespace-id", "f" * 32, "KV namespace", None),
        ("--account-id", "e" * 32, "account with fingerprint", None),
    ],
)
def test_a_rollback_with_a_mistyped_target_is_refused_with_both_names(
    flag: str, typed: str, words: str, planned: str | None, *, execute: bool, bench: Workbench
) -> None:
    sent = len(bench.sandbox.requests)

    result = bench.run("rollback", flag, typed, *(["--execute"] if execute else []))

    assert result.exit_code == ExitCode.FOREIGN, result.stderr
    what = result.document["error"]["what"]
    names = re.findall(rf"{words} '([^']+)', the settings name '([^']+)'", what)
    assert len(names) == 1, what
    assert names[0][0] == (planned or names[0][0]) != names[0][1]
    assert typed == names[0][1] or words.startswith("account"), "the account's id is not shown"
    assert sent == len(bench.sandbox.requests)


@pytest.mark.fault("F12")
def test_a_preview_says_what_it_could_not_compare(bench: Workbench) -> None:
    namespace = bench.environment.pop("Q2V_KV_NAMESPACE_ID")
    try:
        result = bench.run("rollback", as_json=False)
    finally:
        bench.environment["Q2V_KV_NAMESPACE_ID"] = namespace

    assert result.exit_code == 0
    assert "not compared, because the settings do not name it: KV namespace" in result.stdout


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    "words",
    [
        ("plan",),
        ("plan", "SNAPSHOT"),
        ("migrate", "--dry-run"),
        ("migrate",),
        ("reconcile",),
        ("rollback",),
        ("status",),
    ],
    ids=" ".join,
)
def test_source_snapshot_and_target_are_named(words: tuple[str, ...], bench: Workbench) -> None:
    shown = bench.run(*_named(bench, words), as_json=False)

    assert shown.exit_code in {0, ExitCode.PRECONDITION}, shown.stderr
    assert "collection 'chunks' at " + bench.source.url in shown.stdout
    assert re.search(
        rf"vector index +{INDEX} \(account fingerprint [0-9a-f]{{16}} at 127\.0\.0\.1\)",
        shown.stdout,
    )
    assert re.search(rf"KV namespace +{bench.namespace_id}", shown.stdout)
    if words != ("plan",):
        assert re.search(r"snapshot +\S+, (\d+ [a-z]+|\d+\.\d s).* old", shown.stdout)
    if words[0] == "migrate":
        assert f"into vector index '{INDEX}' and KV namespace {bench.namespace_id}" in shown.stderr


@pytest.mark.fault("F12")
def test_the_plan_says_when_no_target_is_configured(bench: Workbench) -> None:
    kept = {
        name: bench.environment.pop(name) for name in ("Q2V_VECTOR_INDEX", "Q2V_KV_NAMESPACE_ID")
    }
    try:
        result = bench.run("plan")
        bench.environment["Q2V_VECTOR_INDEX"] = kept["Q2V_VECTOR_INDEX"]
        account = bench.environment.pop("CLOUDFLARE_ACCOUNT_ID")
        token = bench.environment.pop("CLOUDFLARE_API_TOKEN")
        kept |= {"CLOUDFLARE_ACCOUNT_ID": account, "CLOUDFLARE_API_TOKEN": token}
        shown = bench.run("plan", as_json=False).stdout
    finally:
        bench.environment |= kept

    assert f"{INDEX} (no account configured, at " in shown
    target = result.document["route"]["target"]
    assert (target["vector_index"], target["kv_namespace"]) == (None, None)


def _named(bench: Workbench, words: tuple[str, ...]) -> list[str]:
    snapshots = [str(path.parent) for path in bench.directory.glob("*/manifest.json")]
    return [snapshots[0] if word == "SNAPSHOT" else word for word in words]
