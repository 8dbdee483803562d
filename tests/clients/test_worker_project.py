"""The real wrangler, the type checker and workerd take what `q2v worker init` writes."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.file_stores.rules import FileStoreRules
from migrate.wrangler.bindings import Bindings
from q2v.worker.project import WorkerProject
from sandbox.server import running_sandbox
from tests.clients.real_wrangler import Shell
from tests.harness.running.node import MODULES, installed, node_program

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "worker.md"
_FILE_ON_THE_PAGE = re.compile(r"^```ts\n// (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

NAMES = Bindings(
    vector_binding="CHUNKS",
    kv_binding="FILES",
    vector_index="chunks-2026-11",
    kv_namespace_id="0123456789abcdef0123456789abcdef",
)


RULES = FileStoreRules(dimensions=64, metric="euclidean")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "worker", RULES)


def write_project(folder: Path, rules: FileStoreRules, names: Bindings = NAMES) -> Path:
    """The project of these rules, with the tools that its own tests need."""
    for name, content in WorkerProject(bindings=names, rules=rules).files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    installed("vitest", "package.json")
    (folder / "node_modules").symlink_to(MODULES)
    return folder


@pytest.mark.search  # wrangler bundles the same files with other bindings below
def test_wrangler_bundles_both_workers_and_shows_their_bindings(
    project: Path, tmp_path: Path
) -> None:
    with running_sandbox(tmp_path / "sandbox") as sandbox:
        shell = Shell(tmp_path, sandbox)
        store = shell.run("wrangler deploy --dry-run --outdir dist", within=project)
        verifier = shell.run(
            "wrangler deploy --dry-run --outdir out --config verifier.wrangler.jsonc",
            within=project,
        )

    for done in (store, verifier):
        assert done.exit_code == 0, done.stdout + done.stderr
        assert "warning" not in (done.stdout + done.stderr).lower()
    assert "env.CHUNKS (chunks-2026-11)" in store.stdout
    assert "env.FILES (0123456789abcdef0123456789abcdef)" in store.stdout
    assert "env.VECTORIZE_INDEX (chunks-2026-11)" in verifier.stdout
    assert "upsert" in (project / "dist" / "index.js").read_text(encoding="utf-8")


@pytest.mark.search  # the names that a bundle shows
def test_wrangler_writes_types_with_the_same_names(project: Path, tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "sandbox") as sandbox:
        done = Shell(tmp_path, sandbox).run(
            "wrangler types --include-runtime=false", within=project
        )

    assert done.exit_code == 0, done.stdout + done.stderr
    made = (project / "worker-configuration.d.ts").read_text(encoding="utf-8")
    assert "CHUNKS: " in made
    assert "FILES: KVNamespace" in made


def run_checks(project: Path, shell: Shell) -> str:
    """What the project's own `npm test` does."""
    q2v = Path(sys.executable).with_name("q2v")
    types = shell.run(f"{node_program()} node_modules/typescript/bin/tsc", within=project)
    assert types.exit_code == 0, types.stdout + types.stderr
    tests = shell.run(
        f"{node_program()} node_modules/vitest/vitest.mjs run",
        within=project,
        Q2V=str(q2v),
        NO_COLOR="1",
    )
    assert tests.exit_code == 0, tests.stdout + tests.stderr
    return tests.stdout


@pytest.mark.fault("M18")
@pytest.mark.parametrize("namespace", ["{tenant}", pytest.param("", marks=pytest.mark.search)])
def test_over_several_indexes_its_types_hold_its_tests_pass_and_wrangler_takes_it(
    tmp_path: Path, namespace: str
) -> None:
    names = replace(NAMES, vector_index="wiki-0", shards=("wiki-0", "wiki-1", "wiki-2"))
    rules = replace(RULES, mapping=replace(RULES.mapping, namespace=namespace))
    project = write_project(tmp_path / "worker", rules, names)
    with running_sandbox(tmp_path / "sandbox") as sandbox:
        shell = Shell(tmp_path, sandbox)
        assert "2 passed" in run_checks(project, shell)
        store = shell.run("wrangler deploy --dry-run", within=project)
        verifier = shell.run(
            "wrangler deploy --dry-run --config verifier.wrangler.jsonc", within=project
        )
    for done, name in ((store, "CHUNKS"), (verifier, "VECTORIZE_INDEX")):
        assert done.exit_code == 0, done.stdout + done.stderr
        assert "warning" not in (done.stdout + done.stderr).lower()
        for number in range(3):
            assert f"env.{name}_WIKI_{number} (wiki-{number})" in done.stdout


@pytest.mark.search  # in `make check` over several indexes
@pytest.mark.fault("M18")
def test_with_namespaces_its_types_hold_and_its_tests_pass(tmp_path: Path) -> None:
    rules = replace(RULES, mapping=replace(RULES.mapping, namespace="{tenant}"))
    project = write_project(tmp_path / "worker", rules)
    with running_sandbox(tmp_path / "sandbox") as sandbox:
        assert "2 passed" in run_checks(project, Shell(tmp_path, sandbox))


@pytest.mark.search  # in `make check` with the code of the page
def test_its_types_hold_and_its_tests_pass_in_workerd(project: Path, tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "sandbox") as sandbox:
        assert "2 passed" in run_checks(project, Shell(tmp_path, sandbox))


def test_the_code_on_the_page_about_workers_is_complete(project: Path, tmp_path: Path) -> None:
    files = _FILE_ON_THE_PAGE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(files) == PAGE.read_text(encoding="utf-8").count("```ts\n")
    for name, content in files:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content, encoding="utf-8")

    with running_sandbox(tmp_path / "sandbox") as sandbox:
        shell = Shell(tmp_path, sandbox)
        assert "3 passed" in run_checks(project, shell)
        done = shell.run("wrangler deploy --dry-run", within=project)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "env.CHUNKS (chunks-2026-11)" in done.stdout
    assert "env.FILES (0123456789abcdef0123456789abcdef)" in done.stdout
