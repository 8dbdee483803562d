"""The Python API: the page is the code's, the example runs, and help loads nothing heavy."""

import doctest
import subprocess
import sys
from pathlib import Path

import migrate
from migrate.cloudflare.kv_namespaces import KvNamespace
from migrate.mapping.write_rules import WriteRules
from migrate.plan.rules import PlanRules
from migrate.ports import Target
from migrate.runtime import Runtime
from migrate.upload.settle import SettleRules
from reconcile.rollback.report import UndoRules
from reconcile.stores import ReconcileRules
from tests.harness.clock import VirtualClock
from tests.harness.memory_source import MemorySource, chunk_payloads
from tests.harness.memory_target import MemoryKv, MemoryVectors
from tests.harness.silence import Silence
from tests.harness.strategies import RULES
from tools.api_page import page

ROOT = Path(__file__).resolve().parents[2]
SETTLE = SettleRules(timeout_s=60, poll_s=1)
DIMENSIONS = 32  # the fewest that the target takes
LOADED_LATE = ("pyarrow", "duckdb", "numpy", "grpc", "httpx")


class MemoryNamespaces:
    """The KV namespaces of an account."""

    def __init__(self) -> None:
        self._held: dict[str, KvNamespace] = {}

    def read(self, namespace_id: str) -> KvNamespace | None:
        return self._held.get(namespace_id)

    def find(self, title: str) -> KvNamespace | None:
        return next((one for one in self._held.values() if one.title == title), None)

    def create(self, title: str, *, jurisdiction: str | None = None) -> KvNamespace:
        namespace_id = f"id-{len(self._held)}"
        created = KvNamespace(namespace_id=namespace_id, title=title, jurisdiction=jurisdiction)
        return self._held.setdefault(namespace_id, created)


def test_the_example_of_the_library_runs_as_it_is_written(tmp_path: Path) -> None:
    names = {
        "folder": migrate.LocalFolder(tmp_path),
        "source": MemorySource(chunk_payloads(20), dimensions=DIMENSIONS),
        "stores": Target(MemoryVectors(dimensions=DIMENSIONS), MemoryKv()),
        "namespaces": MemoryNamespaces(),
        "runtime": Runtime(clock=VirtualClock(), progress=Silence()),
        "settle": SETTLE,
        "rules": PlanRules(
            mapping=RULES,
            writes=WriteRules(
                vectors_per_upload=10, body_bytes=10**6, counter_key="_vector_count", ttl_s=None
            ),
        ),
        "reconcile_rules": ReconcileRules(
            content_full_max=10**6,
            content_sample=10,
            seed=1,
            pause_s=1,
            kv_settle_s=1,
            page_points=1000,
            requests_per_5min=900,
        ),
        "undo_rules": UndoRules(settle=SETTLE, pause_s=1, kv_settle_s=1),
    }
    assert migrate.__doc__ is not None
    example = doctest.DocTestParser().get_doctest(migrate.__doc__, names, "migrate", None, 0)
    said: list[str] = []

    result = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE).run(
        example, out=said.append
    )

    assert result.failed == 0, "".join(said)
    assert result.attempted > 10


def test_the_page_of_the_api_is_made_from_the_code() -> None:
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == page()


def test_the_command_line_loads_no_large_library_for_its_help() -> None:
    code = "import sys, q2v.main; print(*sys.modules)"
    loaded = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()

    assert [name for name in LOADED_LATE if name in loaded] == []
