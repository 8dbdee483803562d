"""Files that older versions of q2v wrote, and the target that belongs to them.

Each version has a folder `tests/assets/written-by-<date>`; `write_older_files` makes the next one.
"""

import base64
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sandbox.clock import SystemClock
from sandbox.profile import INSTANT
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.store import SandboxStore
from tests.harness.journal_files import Entry, decode_entries, newest_journal
from tests.harness.running.workbench import InProcessCommands
from tests.harness.running.workspace import NAMESPACE, target_settings

ASSETS = Path(__file__).parents[2] / "assets"
VERSIONS = sorted(folder.name for folder in ASSETS.glob("written-by-*"))
NEWEST = VERSIONS[-1]
Target = dict[str, Any]  # target.json


@dataclass(kw_only=True)
class OlderRun(InProcessCommands):
    """A run folder of an older version beside a served target of the same state."""

    run_folder: Path

    def target(self) -> tuple[dict[str, object], dict[str, object]]:
        """What the target holds now: vectors by id, KV entries by key."""
        vectors = self.sandbox.store.read_vectors(self.index)
        entries = self.sandbox.store.read_kv(self.namespace_id)
        return (
            {i: (values.tobytes(), space, metadata) for i, values, space, metadata in vectors},
            {key: (value, metadata, expiry) for key, value, metadata, expiry in entries},
        )

    def journal(self) -> list[Entry]:
        """The entries of the run's journal."""
        return decode_entries(newest_journal(self.directory))


def q2v_environment(
    sandbox: RunningSandbox, *, vector_index: str, kv_namespace_id: str
) -> dict[str, str]:
    """Point q2v at a served target, with uploads of six vectors."""
    return {
        **target_settings(sandbox.base_url, sandbox.account_id, sandbox.api_token),
        "Q2V_VECTOR_INDEX": vector_index,
        NAMESPACE: kv_namespace_id,
        "Q2V_LIMITS_VECTORS_PER_UPLOAD": "6",
    }


def read_target(name: str, version: str = NEWEST) -> tuple[dict[str, object], dict[str, object]]:
    """The content of a target file of a version, in the form of `OlderRun.target`."""
    held = json.loads((ASSETS / version / name).read_text(encoding="utf-8"))
    return (
        {
            v["id"]: (base64.b64decode(v["values"]), v["namespace"], v["metadata"])
            for v in held["vectors"]
        },
        {e["key"]: (e["value"].encode(), e["metadata"], e["expiration"]) for e in held["kv"]},
    )


def copy_older(folder: Path, name: str, version: str = NEWEST) -> tuple[Path, Path]:
    """The run `name` of a version, copied into a new --dir below `folder`; both paths."""
    assets = ASSETS / version
    manifest = json.loads((assets / "snapshot" / "manifest.json").read_text(encoding="utf-8"))
    plan = json.loads((assets / "runs" / name / "run" / "plan.json").read_text(encoding="utf-8"))
    directory = folder / "snapshots"
    snapshot = directory / manifest["snapshot_id"]
    run_folder = snapshot / "runs" / plan["run_id"]
    shutil.copytree(assets / "snapshot", snapshot)
    shutil.copytree(assets / "runs" / name / "run", run_folder)
    return directory, run_folder


@contextmanager
def older_run(folder: Path, name: str, version: str = NEWEST) -> Iterator[OlderRun]:
    """The run `name` of a version, copied to `folder`, and its target served."""
    target = ASSETS / version / "runs" / name / "target.json"
    held = json.loads(target.read_text(encoding="utf-8"))
    directory, run_folder = copy_older(folder, name, version)
    state = folder / "target"
    build_target(state, held)
    with running_sandbox(state, account_id=held["account_id"]) as sandbox:
        environment = q2v_environment(
            sandbox,
            vector_index=held["vector_index"]["name"],
            kv_namespace_id=held["kv_namespace_id"],
        )
        yield OlderRun(
            folder=folder,
            directory=directory,
            environment={**environment, **held.get("settings", {})},
            sandbox=sandbox,
            run_folder=run_folder,
        )


def build_target(state: Path, held: Target) -> None:
    """A state folder of the sandbox with this content; creation time and namespace id included."""
    index = held["vector_index"]
    with closing(SandboxStore(state, INSTANT, SystemClock())) as store:
        store.create_vector_index(index["name"], index["dimensions"], index["metric"])
        namespace = store.create_kv_namespace("older")
        store.vectors.create_metadata_index(
            store.vectors.indexes.get(index["name"]), "file_id", "string"
        )
        for v in held["vectors"]:
            values = np.frombuffer(base64.b64decode(v["values"]), "<f4")
            store.put_vector(index["name"], v["id"], values, v["metadata"], v["namespace"])
        for entry in held["kv"]:
            store.put_kv(
                namespace,
                entry["key"],
                entry["value"].encode(),
                entry["metadata"],
                entry["expiration"],
            )
    with closing(sqlite3.connect(state / "state.sqlite3")) as database, database:
        # Plans name both; the sandbox draws them when it creates an index or a namespace.
        database.execute("UPDATE vector_indexes SET created_at = ?", (index["created_at"],))
        for table in ("kv_namespaces", "kv_entries"):
            database.execute(
                f"UPDATE {table} SET namespace_id = ?",  # noqa: S608 - constants
                (held["kv_namespace_id"],),
            )
