"""`q2v worker init` writes a project with the names of the migration, never over other content."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import ExitCode, UsageError
from migrate.file_stores.rules import FileStoreRules
from migrate.mapping.shards import Shards
from migrate.wrangler.bindings import Bindings
from q2v.worker.project import WorkerProject, notes
from tests.harness.running.node import WORKER
from tests.harness.running.workbench import Workbench, points, workbench

RULES = FileStoreRules(dimensions=1536)
SHARDS = Shards(("wiki-0", "wiki-1"))
NAMES = Bindings(vector_index="chunks-2026-11", kv_namespace_id="0123456789abcdef0123456789abcdef")


def project(**mapping: Any) -> WorkerProject:
    rules = replace(RULES, mapping=replace(RULES.mapping, **mapping))
    return WorkerProject(bindings=NAMES, rules=rules)


def test_with_the_defaults_the_module_is_that_of_the_package() -> None:
    """So what the tests of the package check is what an operator gets."""
    formatted = (WORKER / "src" / "migration.ts").read_text(encoding="utf-8")

    assert formatted == project().migration()


def test_the_project_holds_every_source_file_of_the_package() -> None:
    """The list is `_SOURCES` in q2v/worker/project.py."""
    files = project().files()
    for folder in ("src", "kit", "test/example"):
        for path in sorted((WORKER / folder).rglob("*.*")):
            assert files[path.relative_to(WORKER).as_posix()] == path.read_bytes()
    assert {
        "wrangler.jsonc",
        "verifier.wrangler.jsonc",
        "package.json",
        "tsconfig.json",
    } <= files.keys()


def test_the_tools_are_those_that_the_package_is_tested_with() -> None:
    made = json.loads(project().files()["package.json"])["devDependencies"]
    whole = json.loads((WORKER / "package.json").read_text(encoding="utf-8"))["devDependencies"]

    assert made.items() <= whole.items()
    assert {"wrangler", "workerd", "vitest"} <= made.keys()


def test_names_of_a_migration_are_filled_in() -> None:
    names = Bindings(
        vector_binding="CHUNKS",
        kv_binding="FILES",
        vector_index="other-index",
        kv_namespace_id="fedcba9876543210fedcba9876543210",
    )
    rules = replace(
        RULES,
        dimensions=768,
        metric="dot-product",
        mapping=replace(
            RULES.mapping,
            group_key="doc",
            order_key="n",
            hash_key="",
            id_template='{doc}"{n}',
            key_template="größe:{doc}",
            nulls="leave_out",
        ),
        writes=replace(RULES.writes, counter_key="_n", ttl_s=3_600),
    )
    files = WorkerProject(bindings=names, rules=rules).files()
    module = files["src/migration.ts"].decode()

    for line in (
        "  CHUNKS: Vectorize;",
        "  FILES: KVNamespace;",
        "env.CHUNKS, env.FILES, RULES",
        '    CHUNKS: "other-index",',
        '  kv: "FILES",',
        "  dimensions: 768,",
        '  metric: "dot-product",',
        '  groupKey: "doc",',
        '  hashKey: "",',
        '  idTemplate: "{doc}\\"{n}",',
        '  keyTemplate: "gr\\u00f6\\u00dfe:{doc}",',
        '  counterKey: "_n",',
        '  nulls: "leave_out",',
        "  ttlSeconds: 3600,",
    ):
        assert line in module
    assert json.loads(files["wrangler.jsonc"])["vectorize"] == [
        {"binding": "CHUNKS", "index_name": "other-index"}
    ]
    assert json.loads(files["wrangler.jsonc"])["kv_namespaces"] == [
        {"binding": "FILES", "id": "fedcba9876543210fedcba9876543210"}
    ]


def test_with_namespaces_a_store_is_opened_for_each_tenant() -> None:
    files = project(namespace="{tenant.id}").files()
    module = files["src/migration.ts"].decode()

    assert "openStore(env: Env, namespace: string)" in module
    assert "`namespace` is what {tenant.id} is for its vectors" in module
    for place in ("src/index.ts", "test/example/worker.ts"):
        assert b'openStore(env, "example")' in files[place]
    (note,) = notes(project(namespace="{tenant.id}").rules)
    assert "'{tenant.id}'" in note


def test_the_verifier_is_bound_to_the_index_alone() -> None:
    made = json.loads(project().files()["verifier.wrangler.jsonc"])

    assert made["vectorize"] == [{"binding": "VECTORIZE_INDEX", "index_name": "chunks-2026-11"}]
    assert made["vars"] == {"VECTORIZE_INDEXES": {"chunks-2026-11": "VECTORIZE_INDEX"}}
    assert "kv_namespaces" not in made


def test_over_several_indexes_each_has_a_binding_and_the_store_gets_all() -> None:
    names = replace(NAMES, vector_binding="CHUNKS", vector_index="wiki-0", shards=SHARDS.indexes)
    rules = replace(RULES, mapping=replace(RULES.mapping, shards=SHARDS))
    files = WorkerProject(bindings=names, rules=rules).files()
    module = files["src/migration.ts"].decode()

    for line in (
        "  CHUNKS_WIKI_0: Vectorize;",
        "  CHUNKS_WIKI_1: Vectorize;",
        '    CHUNKS_WIKI_1: "wiki-1",',
        '    "wiki-0": env.CHUNKS_WIKI_0,',
        "new VectorizeClient(indexesOf(env), env.FILE_VECTOR_INDEX, RULES)",
        '  counterKey: "_vector_count",',
    ):
        assert line in module
    assert [one["index_name"] for one in json.loads(files["wrangler.jsonc"])["vectorize"]] == [
        "wiki-0",
        "wiki-1",
    ]
    verifier = json.loads(files["verifier.wrangler.jsonc"])
    assert verifier["vectorize"] == [
        {"binding": "VECTORIZE_INDEX_WIKI_0", "index_name": "wiki-0"},
        {"binding": "VECTORIZE_INDEX_WIKI_1", "index_name": "wiki-1"},
    ]
    assert verifier["vars"] == {
        "VECTORIZE_INDEXES": {
            "wiki-0": "VECTORIZE_INDEX_WIKI_0",
            "wiki-1": "VECTORIZE_INDEX_WIKI_1",
        }
    }


@pytest.mark.fault("O06")
@pytest.mark.parametrize(
    ("setting", "mapping"),
    [
        (
            "mapping.group_key",
            {
                "group_key": "meta.file",
                "key_template": "file:{meta.file}",
                "id_template": "{meta.file}_{chunk_index}",
            },
        ),
        ("mapping.hash_key", {"hash_key": "hashes[0]"}),
        ("mapping.group_type", {"group_type": "integer"}),
    ],
)
def test_rules_that_the_store_of_a_worker_has_not_are_refused(
    setting: str, mapping: dict[str, str]
) -> None:
    with pytest.raises(UsageError, match=f"^{setting}: found "):
        project(**mapping).files()


def test_rules_that_it_does_not_follow_are_named() -> None:
    assert notes(RULES) == []
    mapping = replace(RULES.mapping, truncate_field="text", hash_of="text")
    first, second = notes(replace(RULES, mapping=mapping))

    assert "'text'" in first
    assert "'chunk_hash'" in second


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    with workbench(tmp_path, points(3)) as opened:
        yield opened


def init(bench: Workbench, folder: Path) -> Any:
    return bench.run("worker", "init", str(folder))


def test_a_project_is_written_and_may_be_written_again(bench: Workbench, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "worker"
    first = init(bench, folder)
    assert first.exit_code == ExitCode.DONE, first.stderr
    files = first.document["files"]
    assert sorted(files) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    assert first.document["written"] == len(files)

    again = init(bench, folder)
    assert (again.exit_code, again.document["written"]) == (ExitCode.DONE, 0)


def test_over_several_indexes_no_index_has_to_be_named(bench: Workbench, tmp_path: Path) -> None:
    bench.environment["Q2V_TARGET_SHARDS"] = "wiki-0,wiki-1"
    del bench.environment["Q2V_VECTOR_INDEX"]
    made = init(bench, tmp_path / "worker")

    assert made.exit_code == ExitCode.DONE, made.stderr
    assert made.document["vector_indexes"] == {
        "wiki-0": "VECTORIZE_INDEX_WIKI_0",
        "wiki-1": "VECTORIZE_INDEX_WIKI_1",
    }
    assert '  counterKey: "_vector_count",' in (tmp_path / "worker/src/migration.ts").read_text()


@pytest.mark.fault("O06")
def test_a_file_with_another_content_is_named_and_nothing_is_written(
    bench: Workbench, tmp_path: Path
) -> None:
    folder = tmp_path / "worker"
    folder.mkdir()
    (folder / "wrangler.jsonc").write_text("{}")

    refused = init(bench, folder)

    assert refused.exit_code == ExitCode.PRECONDITION
    assert str(folder / "wrangler.jsonc") in refused.stderr
    assert [path.name for path in folder.iterdir()] == ["wrangler.jsonc"]
    assert (folder / "wrangler.jsonc").read_text() == "{}"
