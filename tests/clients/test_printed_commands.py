"""Every command line that q2v or its documents print for wrangler, run by the real wrangler."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

from reconcile.rollback.manifest import commands_after
from tests.clients.real_wrangler import Shell, as_worker
from tests.e2e.older.older_files import OlderRun, older_run
from tests.harness.running.node import MODULES
from tests.harness.running.workspace import Result
from tests.migrate.model.records import PLAN

pytestmark = [pytest.mark.fault("F16"), pytest.mark.fault("B06")]

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = "reader"
AT_ONCE = 2  # each start of wrangler keeps a core busy
IN_BACKTICKS = re.compile(r"`(wrangler [^`]+)`")
IN_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")  # what the operator puts in
MEMBERS = 'name = "reader"\nmain = "worker.js"\ncompatibility_date = "2026-11-01"\n'
ADVISED = "wrangler vectorize delete-metadata-index NAME --property-name=PROPERTY"


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OlderRun]:
    """A finished run and its target, which is being served."""
    with older_run(tmp_path_factory.mktemp("moved"), "complete-and-equal") as run:
        yield run


@pytest.fixture(scope="module")
def shell(moved: OlderRun, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("shell"), moved.sandbox)


def run_all(shell: Shell, lines: list[str], **options: Any) -> list[Result]:
    """Each line, some at a time; all have to succeed."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(lambda line: shell.run(line, **options), lines))
    for line, outcome in zip(lines, outcomes, strict=True):
        assert outcome.exit_code == 0, f"{line}\n{outcome.stdout}\n{outcome.stderr}"
    return outcomes


@pytest.mark.slow
def test_what_provision_prints(moved: OlderRun, shell: Shell, tmp_path: Path) -> None:
    """The bindings are taken by wrangler in both spellings, and the secrets end at the Worker."""
    names = ("OPENAI_API_KEY", "_other2")
    options = [word for name in names for word in ("--secret", name)]
    printed = moved.run("provision", *options)
    assert printed.exit_code == 0, printed.stderr
    document = printed.document
    folders = [
        as_worker(tmp_path / "toml", WORKER, "wrangler.toml", document["wrangler_toml"]),
        as_worker(tmp_path / "jsonc", WORKER, "wrangler.jsonc", document["wrangler_jsonc"]),
    ]
    moved.sandbox.store.scripts.upload(WORKER)
    for line, folder in zip(document["secret_commands"], folders, strict=True):
        outcome = shell.run(line, within=folder, stdin="the value\n")
        assert outcome.exit_code == 0, outcome
        assert "WARNING" not in outcome.stdout + outcome.stderr, outcome

    assert moved.sandbox.store.scripts.secrets(WORKER) == sorted(names)


WRITTEN = {
    "tables": (
        "wrangler.toml",
        None,
        f'\ufeff{MEMBERS}\r\n# of others\r\n[[kv_namespaces]]\r\nbinding = "OTHER"\r\n'
        'id = "0123456789abcdef0123456789abcdef"\r\n\r\n[vars] # last\r\nMODE = "a"\r\n',
    ),
    "lists": (
        "wrangler.toml",
        None,
        f'{MEMBERS}\nvectorize = [\n  {{ binding = "OTHER", index_name = "x" }} # c\n]\n'
        'kv_namespaces = []\n[vars]\nMODE = "a"\n',
    ),
    "an environment": (
        "wrangler.toml",
        "production",
        f'{MEMBERS}\nenv.production.vars = {{ MODE = "a" }}\n[env.staging]\nname = "trial"\n',
    ),
    "comments and trailing commas": (
        "wrangler.jsonc",
        "production",
        '{\n\t// the Worker\n\t"name": "reader",\n\t"main": "worker.js", /* built */\n'
        '\t"compatibility_date": "2026-11-01",\n\t"env": {\n\t\t"production": {\n'
        '\t\t\t"vars": { "MODE": "a" }, // here\n\t\t},\n\t},\n}\n',
    ),
}

FORMS = ("tables", "comments and trailing commas")  # of `make check`: one of each kind of file


@pytest.mark.slow
@pytest.mark.fault("V01")
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=() if name in FORMS else pytest.mark.search)
        for name, case in WRITTEN.items()
    ],
)
def test_what_provision_writes_into_a_workers_file(
    moved: OlderRun, shell: Shell, tmp_path: Path, case: tuple[str, str | None, str]
) -> None:
    """Wrangler reads the bindings from it, and everything that was there before."""
    file, env, content = case
    folder = as_worker(tmp_path / "worker", WORKER, file, "{}")
    (folder / file).write_bytes(content.encode())
    chosen = [] if env is None else ["--env", env]
    made = moved.run("provision", "--wrangler", str(folder / file), *chosen, "--yes")
    assert made.exit_code == 0, made.stderr

    outcome = shell.run(f"wrangler deploy --dry-run --env={env or ''}", within=folder)

    assert outcome.exit_code == 0, outcome
    read = set(re.findall(r"env\.(\w+) \((.*?)\)", outcome.stdout))
    assert read >= {
        ("VECTORIZE_INDEX", made.document["vector_index"]),
        ("FILE_VECTOR_INDEX", made.document["kv_namespace_id"]),
        ("MODE", '"a"'),
    }
    assert ("OTHER" in content) == any(name == "OTHER" for name, _ in read)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["toml", pytest.param("jsonc", marks=pytest.mark.search)])
def test_a_new_file_is_a_configuration(
    moved: OlderRun, shell: Shell, tmp_path: Path, ending: str
) -> None:
    """The rest of it can be given on the command line."""
    folder = as_worker(tmp_path / "worker", WORKER, "unused.toml", "")
    file = folder / f"wrangler.{ending}"
    assert moved.run("provision", "--wrangler", str(file), "--yes").exit_code == 0
    line = f"wrangler deploy worker.js --name={WORKER} --compatibility-date=2026-11-01"

    outcome = shell.run(f"{line} --dry-run", within=folder)

    assert outcome.exit_code == 0, outcome
    assert {"env.VECTORIZE_INDEX", "env.FILE_VECTOR_INDEX"} <= set(outcome.stdout.split())


@pytest.mark.slow
def test_what_provision_prints_around_a_release(
    moved: OlderRun, shell: Shell, tmp_path: Path
) -> None:
    """The version that was noted is the one that runs again, also after a secret was put."""
    document = moved.run("provision", "--secret", "OPENAI_API_KEY").document
    (back,) = document["back_commands"]
    deletes = document["secret_delete_commands"]
    scripts = moved.sandbox.store.scripts
    former = scripts.upload("released")
    folder = as_worker(tmp_path / "worker", "released", "wrangler.toml", document["wrangler_toml"])

    deployments, versions = run_all(shell, document["release_commands"], within=folder)
    for name in ("OPENAI_API_KEY", "QDRANT_API_KEY", "QDRANT_URL"):  # the last two are deleted
        scripts.put_secret("released", name)
    scripts.upload("released")
    run_all(shell, [back.replace("VERSION", former.version_id)], within=folder)
    running = scripts.deployments("released")[0].versions
    run_all(shell, deletes, within=folder)

    assert former.version_id in deployments.stdout
    assert former.version_id in versions.stdout
    assert running == {former.version_id: 100}
    assert scripts.secrets("released") == ["OPENAI_API_KEY"]


@pytest.mark.parametrize("name", ["-rf", "--name=x", "a b", "1x", "", "é", "A;B", "A\n"])
def test_a_secret_that_wrangler_could_not_name_is_refused(moved: OlderRun, name: str) -> None:
    before = len(moved.sandbox.requests)
    refused = moved.run("provision", f"--secret={name}")

    assert refused.exit_code == 2
    assert "--secret" in refused.stderr
    assert len(moved.sandbox.requests) == before


@pytest.mark.slow
def test_what_provision_advises_about_a_metadata_index_of_another_type(tmp_path: Path) -> None:
    with older_run(tmp_path, "complete-and-equal") as moved:
        moved.environment["Q2V_TARGET_METADATA_INDEXES"] = "file_id:number"
        refused = moved.run("provision")
        assert refused.exit_code == 5, refused.stderr
        meant = {"NAME": moved.index, "PROPERTY": "file_id"}
        advised = IN_CAPITALS.sub(lambda word: meant[word[0]], ADVISED)
        assert refused.stderr.count(advised + "\n") == 1, refused.stderr
        assert "`q2v provision --into-non-empty" in refused.stderr
        run_all(Shell(tmp_path / "shell", moved.sandbox), [advised])
        done = moved.run("provision", "--into-non-empty")

    assert done.exit_code == 0, done.stderr


def preview_lines(moved: OlderRun) -> dict[str, list[str]]:
    """The commands below "before it" and "after it" in the preview of a rollback."""
    shown = moved.run("rollback", str(moved.run_folder), as_json=False)
    assert shown.exit_code == 0, shown.stderr
    _, _, rest = shown.stdout.partition("\nbefore it")
    before, _, after = rest.partition("\nafter it")
    return {
        when: [line.strip() for line in text.splitlines() if line.startswith("  wrangler ")]
        for when, text in (("before", before), ("after", after))
    }


@pytest.mark.slow
def test_what_a_rollback_prints(moved: OlderRun, shell: Shell, tmp_path: Path) -> None:
    """The manifest, the JSON and the preview hold the same lines, and each does what it says.

    The first two are those that `q2v provision` prints, which the test of a release runs.
    """
    document = moved.run("rollback", str(moved.run_folder)).document
    lines = preview_lines(moved)
    manifest = json.loads((moved.run_folder / "rollback" / "manifest.json").read_text())
    for when in ("before", "after"):
        argvs = [shlex.split(line) for line in lines[when]]
        assert argvs == document[f"commands_{when}"] == manifest[f"commands_{when}"]
    released = moved.run("provision").document["release_commands"]
    assert lines["before"][: len(released)] == released
    scripts = moved.sandbox.store.scripts
    former = scripts.upload(WORKER)
    scripts.upload(WORKER)
    scripts.upload(WORKER)  # as a secret makes one
    folder = as_worker(tmp_path / "worker", WORKER, "wrangler.toml", "")

    own = lines["before"][len(released) :]
    chosen = [line.replace("VERSION", former.version_id) for line in own]
    rollback, info = run_all(shell, chosen, within=folder)
    listed, counter = run_all(shell, lines["after"], within=folder)

    assert former.version_id in rollback.stdout
    newest = scripts.deployments(WORKER)[0]
    assert newest.versions == {former.version_id: 100}
    assert newest.message == "q2v: readers back to Qdrant"
    vectors, entries = moved.target()
    assert json.loads(info.stdout)["vectorCount"] == len(vectors)
    assert {one["id"] for one in json.loads(listed.stdout)["vectors"]} == set(vectors)
    assert [one["name"] for one in json.loads(counter.stdout)] == [manifest["counter_key"]]
    assert manifest["counter_key"] in entries


@pytest.mark.slow
@pytest.mark.search  # a rule of the pinned wrangler
def test_the_account_is_found_without_its_id(moved: OlderRun, shell: Shell) -> None:
    """Wrangler asks the service which accounts the token reaches."""
    line = preview_lines(moved)["before"][-1]
    outcome = shell.run(line, CLOUDFLARE_ACCOUNT_ID="")

    assert outcome.exit_code == 0, outcome
    assert {record.path for record in moved.sandbox.requests} >= {
        "/client/v4/accounts",
        "/client/v4/memberships",
    }


@pytest.mark.slow
@pytest.mark.search  # a rule of the pinned wrangler
def test_a_name_behind_two_dashes_is_dropped(moved: OlderRun, shell: Shell) -> None:
    """Why no printed command has them: were this to change, the names would be free again."""
    index = moved.environment["Q2V_VECTOR_INDEX"]
    outcome = shell.run(f"wrangler vectorize info --json -- {index}")

    assert outcome.exit_code != 0
    assert "Not enough non-option arguments" in outcome.stdout + outcome.stderr


COUNTER_KEYS = [
    pytest.param('"quoted"', marks=pytest.mark.search),
    "-rf $(touch canary)' a&c=d/é%41",
]


@pytest.mark.slow
@pytest.mark.parametrize("key", COUNTER_KEYS)
def test_a_counter_key_arrives_as_it_is(moved: OlderRun, shell: Shell, key: str) -> None:
    """Whatever a shell and wrangler's own parser read into its characters."""
    plan = replace(PLAN, writes=replace(PLAN.writes, counter_key=key))
    namespace = {"kv_namespace": moved.environment["Q2V_KV_NAMESPACE_ID"]}
    run: Any = SimpleNamespace(plan=replace(plan, kv_target=namespace))
    run_all(shell, [shlex.join(commands_after(run)[-1])])

    queries = [record.query for record in moved.sandbox.requests if record.path.endswith("/keys")]
    assert key in [parse_qs(query).get("prefix", [""])[0] for query in queries]


def documented_commands() -> list[str]:
    """Every wrangler command in the documents for operators."""
    documents = [REPOSITORY / "RUNBOOK.md", REPOSITORY / "README.md"]
    documents += sorted((REPOSITORY / "docs").glob("*.md"))
    texts = (document.read_text(encoding="utf-8").replace("\n", " ") for document in documents)
    return sorted({" ".join(line.split()) for text in texts for line in IN_BACKTICKS.findall(text)})


PRINTED = ("release_commands", "back_commands", "secret_delete_commands")


def without_message(line: str) -> str:
    """The line as one writes it who has another message for a deployment."""
    return shlex.join(word for word in shlex.split(line) if not word.startswith("--message="))


@pytest.mark.slow
def test_what_the_documents_say(moved: OlderRun, shell: Shell, tmp_path: Path) -> None:
    """On an index and a namespace of their own, in the order in which they can be run.

    Lines that q2v prints too, if with another message, are run with those.
    """
    store = moved.sandbox.store
    spare = "rehearsal"  # the name in an example of the runbook
    store.create_vector_index(spare, 32, "cosine")
    store.put_vector(spare, "-an id", [1.0] * 32)
    store.vectors.create_metadata_index(store.vectors.indexes.get(spare), "f", "string")
    namespace = store.create_kv_namespace("spare")
    former = store.scripts.upload("documented")
    folder = as_worker(tmp_path / "worker", "documented", "wrangler.toml", "")
    meant = {"NAME": spare, "ID": namespace, "VECTOR": "'-an id'", "PROPERTY": "f"}
    meant["VERSION"] = former.version_id
    printed = moved.run("provision").document
    others = {ADVISED, *(without_message(line) for name in PRINTED for line in printed[name])}
    lines = {
        IN_CAPITALS.sub(lambda word: meant[word[0]], command)
        for command in documented_commands()
        if without_message(command) not in others
    }
    assert len(lines) >= 3
    last = "wrangler vectorize delete "
    for line in sorted(lines, key=lambda line: (line.startswith(last), line)):
        run_all(shell, [line], within=folder)

    assert spare not in {index.name for index in store.vectors.indexes.select_all()}
    assert namespace not in {one.namespace_id for one in store.kv.namespaces.select_all()}


@pytest.mark.slow
@pytest.mark.fault("F16")
def test_the_steps_that_remove_the_verifier(moved: OlderRun, shell: Shell, tmp_path: Path) -> None:
    """After them the Worker and the file of its key are gone."""
    folder, key = tmp_path / "the project", tmp_path / "verifier key"
    folder.mkdir()
    shutil.copy(MODULES.parent / "verifier.wrangler.jsonc", folder)
    key.write_text("k" * 40)
    moved.sandbox.store.scripts.upload("q2v-verifier")
    moved.environment["Q2V_VERIFIER_KEY_FILE"] = str(key)
    printed = moved.run("worker", "remove-steps", str(folder))
    del moved.environment["Q2V_VERIFIER_KEY_FILE"]
    commands = [step["command"] for step in printed.document["steps"]]

    outcomes = [shell.run(line) for line in commands]

    assert [one.exit_code for one in outcomes] == [0, 1, 0], outcomes
    assert "Successfully deleted q2v-verifier" in outcomes[0].stdout
    assert "does not exist" in outcomes[1].stderr
    assert not key.exists()
