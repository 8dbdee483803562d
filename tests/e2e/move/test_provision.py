"""`q2v provision`: the target, the Worker's files, and the questions before either."""

import json
import os
import pty
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from migrate.cloudflare.client.base_url import parse_base_url
from migrate.errors import ExitCode
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder
from migrate.wrangler.commands import OLD_SECRETS
from q2v import wiring
from tests.e2e.trust.test_least_privilege import is_read
from tests.harness.running.programs import run_python
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import REPOSITORY, Result

WRANGLER = '# ours\nname = "reader"\n\n[vars]\nMODE = "a"  # kept\n'


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """An account without anything in it, and a Worker's project."""
    with workbench(tmp_path, points(5), provision=False) as bench:
        (tmp_path / "worker").mkdir()
        (tmp_path / "worker" / "wrangler.toml").write_text(WRANGLER)
        yield bench


def worker_files(bench: Workbench) -> dict[str, str]:
    return {path.name: path.read_text() for path in (bench.folder / "worker").iterdir()}


def titles(bench: Workbench) -> list[str]:
    return sorted(one.title for one in bench.sandbox.store.kv.namespaces.select_all())


@pytest.mark.fault("V01", "V04")
def test_a_workers_file_gets_the_bindings_once(bench: Workbench) -> None:
    file = str(bench.folder / "worker" / "wrangler.toml")

    made = bench.run("provision", "--wrangler", file, "--yes")
    once = worker_files(bench)
    again = bench.run("provision", "--wrangler", file)

    assert made.exit_code == 0, made.stderr
    assert once["wrangler.toml"] == f"{WRANGLER}\n{made.document['wrangler_toml']}"
    (change,) = made.document["files"]
    assert (change["changed"], change["written"]) == (True, True)
    assert '+binding = "VECTORIZE_INDEX"' in change["diff"]
    assert made.document["kv_namespace_id"] in once["wrangler.toml"]
    assert made.document["kv_preview_namespace_id"] in once["wrangler.toml"]
    assert len(made.document["missing"]) == 4
    assert again.exit_code == 0, "there is nothing to ask for"
    assert again.document["missing"] == []
    assert again.document["files"] == [
        {"file": file, "changed": False, "written": False, "diff": []}
    ]
    assert worker_files(bench) == once


def test_names_and_the_interface_follow_the_settings(bench: Workbench) -> None:
    bench.environment["Q2V_TARGET_VECTOR_BINDING"] = "CHUNKS"
    bench.environment["Q2V_TARGET_KV_BINDING"] = "FILES"
    types = bench.folder / "worker" / "env.d.ts"

    made = bench.run("provision", "--env-types", str(types), "--yes")
    again = bench.run("provision", "--env-types", str(types))
    types.write_text("interface Env {}\n")
    refused = bench.run("provision", "--env-types", str(types), "--yes")

    assert types.read_text() == "interface Env {}\n"
    assert "  CHUNKS: Vectorize;\n  FILES: KVNamespace;" in made.document["env_interface"]
    bindings = json.loads(made.document["wrangler_jsonc"])
    assert bindings["vectorize"][0]["binding"] == "CHUNKS"
    assert again.exit_code == 0
    assert refused.exit_code == ExitCode.PRECONDITION
    assert "changes no TypeScript" in refused.stderr


@pytest.mark.fault("F20")
def test_one_name_for_both_bindings_is_refused(bench: Workbench) -> None:
    bench.environment["Q2V_TARGET_KV_BINDING"] = "VECTORIZE_INDEX"
    refused = bench.run("provision")
    secret = bench.run("provision", "--secret", "VECTORIZE_INDEX")

    assert refused.exit_code == secret.exit_code == ExitCode.USAGE
    assert "target.kv_binding" in refused.stderr
    assert len(bench.sandbox.requests) == 0


@pytest.mark.slow
def test_the_document_and_the_lines_lead_to_the_same_step(bench: Workbench) -> None:
    made = bench.run("provision").document
    again = bench.run("provision").document
    shown = bench.run("provision", as_json=False).stdout
    namespace = made["kv_namespace_id"]
    bench.environment["Q2V_KV_NAMESPACE_ID"] = namespace
    named = bench.run("provision").document
    last = bench.run("provision", as_json=False).stdout

    assert made["next"].startswith(f"set Q2V_KV_NAMESPACE_ID={namespace}, then q2v snapshot")
    assert again["next"] == made["next"]
    assert unwrapped(shown).endswith(f" next: {made['next']}")
    assert made["next_environment"] == {"Q2V_KV_NAMESPACE_ID": namespace}
    assert named["next_environment"] == {}
    assert named["next"].startswith("q2v snapshot")
    assert unwrapped(last).endswith(f" next: {named['next']}")
    assert made["next_argv"] == named["next_argv"]


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def test_a_person_reads_whether_a_file_was_written(bench: Workbench) -> None:
    file = str(bench.folder / "worker" / "wrangler.toml")

    made = bench.run("provision", "--wrangler", file, "--yes", as_json=False)
    again = bench.run("provision", "--wrangler", file, as_json=False)

    assert f"{file}: written" in made.stdout.splitlines()
    assert f"{file}: no change" in again.stdout.splitlines()


@pytest.mark.fault("V07")
def test_a_dry_run_reads_and_says_what_it_would_do(bench: Workbench) -> None:
    file, types = bench.folder / "worker" / "wrangler.toml", bench.folder / "worker" / "env.d.ts"
    words = ("provision", "--dry-run", "--wrangler", str(file), "--env-types", str(types))

    planned = bench.run(*words)
    shown = bench.run(*words, as_json=False)

    assert planned.exit_code == shown.exit_code == 0, planned.stderr
    document = planned.document
    assert document["missing"] == [
        "vector index 'chunk-vectors'",
        "metadata index 'file_id' (string)",
        "KV namespace 'chunk-vectors-files'",
        "KV namespace 'chunk-vectors-files-preview' for previews",
    ]
    assert (document["kv_namespace_id"], document["index_created"]) == (None, False)
    assert [one["written"] for one in document["files"]] == [False, False]
    assert "would create" in shown.stdout
    assert f"{file}: not written, because of --dry-run" in shown.stdout.splitlines()
    assert '+binding = "FILE_VECTOR_INDEX"' in shown.stdout
    assert worker_files(bench) == {"wrangler.toml": WRANGLER}
    assert titles(bench) == []
    asked = {(each.method, each.path) for each in bench.sandbox.requests}
    unread = {each for each in asked if not is_read(*each)}
    assert {method for method, _ in unread} == {"GET"}, "no write, and no probe for one"
    assert {path.name for path in bench.directory.iterdir()} == {".budget"}


@pytest.mark.fault("V07")
def test_a_dry_run_after_the_fact_names_nothing(bench: Workbench) -> None:
    bench.provision()
    planned = bench.run("provision", "--dry-run")

    assert planned.document["missing"] == []
    assert planned.document["kv_namespace_id"] == bench.namespace_id


@pytest.mark.fault("V02")
@pytest.mark.parametrize(
    ("content", "words", "code", "says"),
    [
        ("name = \n", (), ExitCode.USAGE, "line 1, column 8"),
        (WRANGLER, ("--env", "staging"), ExitCode.USAGE, "environments"),
        ('[vars]\nVECTORIZE_INDEX = "x"\n', (), ExitCode.PRECONDITION, "is taken by vars"),
    ],
)
def test_a_file_that_cannot_take_the_bindings_stops_before_the_first_request(
    bench: Workbench, content: str, words: tuple[str, ...], code: ExitCode, says: str
) -> None:
    file = bench.folder / "worker" / "wrangler.toml"
    file.write_text(content)

    refused = bench.run("provision", "--wrangler", str(file), "--yes", *words)

    assert refused.exit_code == code
    assert says in refused.stderr
    assert file.read_text() == content
    assert len(bench.sandbox.requests) == 0


@pytest.mark.fault("V02")
def test_a_file_that_wrangler_does_not_read_is_no_configuration(bench: Workbench) -> None:
    refused = bench.run("provision", "--wrangler", str(bench.folder / "wrangler.yaml"))

    assert refused.exit_code == ExitCode.USAGE
    assert ".jsonc" in refused.stderr


def test_files_that_wrangler_would_not_read_and_environments_without_bindings_are_warned_of(
    bench: Workbench,
) -> None:
    file = bench.folder / "worker" / "wrangler.toml"
    file.write_text(f'{WRANGLER}[env.production]\nname = "b"\n')
    file.with_name("wrangler.jsonc").write_text("{}")

    made = bench.run("provision", "--wrangler", str(file), "--yes")
    words = ("--env", "production", "--secret", "MODEL_KEY", "--yes")
    other = bench.run("provision", "--wrangler", str(file), *words)

    first, second = made.document["warnings"]
    assert "wrangler reads wrangler.jsonc and not wrangler.toml" in first
    assert "production without them" in second
    assert "--env=production" in other.document["secret_commands"][0]
    assert len(other.document["warnings"]) == 1
    assert "[[env.production.vectorize]]" in file.read_text()


def test_commands_for_the_worker_say_when_to_run_them(bench: Workbench) -> None:
    shown = bench.run("provision", "--old-secret", "QDRANT_URL", as_json=False).stdout
    document = bench.run("provision").document
    lines = shown.splitlines()

    at = lines.index("  wrangler secret delete QDRANT_URL")
    assert "not before a week after the cutover" in lines[at - 1]
    assert "q2v decommission" in lines[at - 1]
    assert any(line.startswith("  wrangler rollback VERSION ") for line in lines)
    assert "--secret NAME" in shown, "no secret is known that was not named"
    assert document["secret_commands"] == []
    assert document["secret_delete_commands"] == [
        f"wrangler secret delete {name}" for name in OLD_SECRETS
    ]
    assert {"  wrangler deployments list", "  wrangler versions list"} <= set(lines)


@pytest.mark.fault("V05")
def test_two_in_one_folder_are_kept_apart(bench: Workbench) -> None:
    with FolderLock(LocalFolder(bench.directory)):
        locked = bench.run("provision")
        planned = bench.run("provision", "--dry-run")

    assert locked.exit_code == ExitCode.LOCKED
    assert planned.exit_code == 0, "it writes nothing"
    assert titles(bench) == []


# The sandbox counts as the public service, so that q2v asks before it creates anything.
PUBLIC = """
from dataclasses import replace
from q2v import wiring
from q2v.main import main

parse = wiring.parse_base_url
wiring.parse_base_url = lambda *args, **kwargs: replace(parse(*args, **kwargs), loopback=False)
main()
"""


@dataclass(frozen=True)
class Terminal:
    """Runs the command as a process whose stdin is a terminal, where an operator types."""

    bench: Workbench

    def provision(self, *words: str, types: str) -> Result:
        ours, theirs = pty.openpty()
        try:
            os.write(ours, types.encode())
            done = run_python(
                *("-c", PUBLIC, *self.bench.arguments("provision", *words)),
                env={**os.environ, **self.bench.environment, "PYTHONPATH": str(REPOSITORY)},
                cwd=self.bench.folder,
                stdin=theirs,
                timeout_s=300,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.fault("V08")
def test_it_asks_for_the_name_before_it_creates_and_for_a_yes_before_it_writes(
    bench: Workbench,
) -> None:
    terminal, file = Terminal(bench), bench.folder / "worker" / "wrangler.toml"
    words = ("--wrangler", str(file))

    other = terminal.provision(*words, types="another-index\n")
    nothing = titles(bench)
    declined = terminal.provision(*words, types="chunk-vectors\nn\n")
    kept = file.read_text()
    accepted = terminal.provision(*words, types="y\n")

    assert other.exit_code == ExitCode.USAGE
    assert "Creates vector index 'chunk-vectors', metadata index" in other.stderr
    assert "nothing was created" in other.stderr
    assert nothing == []
    assert declined.exit_code == ExitCode.USAGE
    assert len(titles(bench)) == 2
    assert '+binding = "VECTORIZE_INDEX"' in declined.stderr
    assert kept == WRANGLER
    assert accepted.exit_code == 0, accepted.stderr
    assert accepted.document["files"][0]["written"]
    assert "FILE_VECTOR_INDEX" in file.read_text()


@pytest.mark.fault("V08")
def test_without_a_terminal_it_asks_for_yes(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(bench.folder / "worker" / "wrangler.toml")
    local = bench.run("provision", "--wrangler", file)
    monkeypatch.setattr(
        wiring,
        "parse_base_url",
        lambda *given, **more: replace(parse_base_url(*given, **more), loopback=False),
    )
    refused = bench.run("provision")
    found = titles(bench)
    done = bench.run("provision", "--yes")

    assert local.exit_code == refused.exit_code == ExitCode.USAGE
    assert f"writing {file} needs confirmation" in local.stderr
    assert "creating vector index 'chunk-vectors', " in refused.stderr
    assert found == [], "neither has created anything"
    assert done.exit_code == 0, done.stderr
    assert len(titles(bench)) == 2
