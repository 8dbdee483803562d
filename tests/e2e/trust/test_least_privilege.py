"""Each command asks for no more rights than its work needs."""

import re
from pathlib import Path

import pytest

from tests.harness.running.workbench import points, workbench

pytestmark = pytest.mark.fault("X12")

# What the service lets a token with Vectorize: Read and Workers KV Storage: Read do.
READS = [
    ("GET", r"/vectorize/v2/indexes/[^/]+(/info|/list|/metadata_index/list)?$"),
    ("POST", r"/vectorize/v2/indexes/[^/]+/(get_by_ids|query)$"),
    ("GET", r"/storage/kv/namespaces/[^/]+/(keys|values/.+|metadata/.+)$"),
    ("POST", r"/storage/kv/namespaces/[^/]+/bulk/get$"),
]


def is_read(method: str, path: str) -> bool:
    return any(
        method == one and re.search(pattern, path.partition("?")[0]) for one, pattern in READS
    )


def test_a_snapshot_needs_no_token_of_the_target(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5), provision=False) as bench:
        for name in [name for name in bench.environment if name.startswith("CLOUDFLARE_")]:
            del bench.environment[name]

        assert bench.run("snapshot").exit_code == 0
        assert bench.run("verify").exit_code == 0
        assert len(bench.sandbox.requests) == 0


@pytest.mark.slow
def test_reconcile_sends_nothing_that_a_read_only_token_may_not(tmp_path: Path) -> None:
    with workbench(tmp_path, points(30)) as bench:
        bench.move()
        before = len(bench.sandbox.requests)

        assert bench.run("reconcile").exit_code == 0
        asked = [(each.method, each.path) for each in list(bench.sandbox.requests)[before:]]

    assert len(asked) > 3
    assert [each for each in asked if not is_read(*each)] == []


@pytest.mark.slow
def test_a_plan_tells_of_keys_that_can_visibly_do_more(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5), api_token="cfoat_" + "a" * 40) as bench:
        told = bench.run("plan").document["credentials"]
        shown = bench.run("plan", "--details", as_json=False).stdout

    assert any("login of wrangler" in note for note in told)
    assert any("source.api_key is a plain key" in note for note in told)
    assert all(f"note: {note}" in shown for note in told)
