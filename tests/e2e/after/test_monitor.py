"""`q2v monitor` as cron calls it: an exit code, one line of JSON, an alert."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.harness.running.workbench import points, workbench


@pytest.mark.fault("W01", "W04")
def test_cron_gets_one_line_and_the_program_for_alerts_gets_it_too(tmp_path: Path) -> None:
    sent = tmp_path / "sent.json"
    program = shlex.join(
        [sys.executable, "-c", f"import sys; open({str(sent)!r}, 'w').write(sys.stdin.read())"]
    )
    with workbench(tmp_path, points(40)) as bench:
        assert bench.move().exit_code == 0
        before = bench.state()
        good = bench.run("monitor", "--on-alert", program)
        was_sent = sent.exists()
        after = bench.state()
        bench.sandbox.store.remove_vector(bench.index, "file-0002_1")
        bad = bench.run("monitor", "--on-alert", program)
        shown = bench.run("monitor", as_json=False)
        unknown = bench.run("monitor", "--on-alert", "no-such-program --now")
        failing = bench.run("monitor", "--on-alert", "false")

    assert good.exit_code == 0, good.stderr
    assert good.stdout.count("\n") == 1
    assert (was_sent, before) == (False, after)
    assert good.document["counts"]["vectors"] == 40
    assert bad.exit_code == 4
    assert bad.document["first"] == {"dangling": ["file-0002_1"], "counter": ["40 for 39 vectors"]}
    assert json.loads(sent.read_text(encoding="utf-8")) == bad.document
    assert shown.exit_code == 4
    assert "vectors  █▁" in shown.stdout
    assert unknown.exit_code == 2
    assert "no-such-program" in unknown.stderr
    assert failing.exit_code == 4
    assert "warning: false ended with exit code 1" in failing.stderr


@pytest.mark.slow
@pytest.mark.fault("W04")
def test_a_history_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    with workbench(tmp_path, points(10)) as bench:
        assert bench.move().exit_code == 0
        assert bench.run("monitor").exit_code == 0
        (journal,) = bench.directory.glob("*/runs/*/monitor/journal.jsonl")
        journal.write_bytes(journal.read_bytes().replace(b'"consistent"', b'"inconsistent"'))
        changed = bench.run("monitor")

    assert changed.exit_code == 10
    assert str(journal) in changed.stderr


@pytest.mark.slow
@pytest.mark.fault("W04")
def test_what_the_alert_program_prints_is_not_in_the_json(tmp_path: Path) -> None:
    """A log of looks, as of cron, holds one document a line."""
    program = tmp_path / "page"
    program.write_text("#!/bin/sh\necho accepted by the pager\n")
    program.chmod(0o700)
    with workbench(tmp_path, points(14)) as bench:
        assert bench.move().exit_code == 0
        bench.sandbox.store.remove_vector(bench.index, "file-0001_1")
        look = bench.run_process("monitor", "--on-alert", str(program))

    assert look.exit_code == 4
    assert look.document["verdict"] == "inconsistent"
    assert "accepted by the pager" in look.stderr


@pytest.mark.slow
@pytest.mark.fault("X01")
def test_the_alert_program_gets_no_key_and_no_token(tmp_path: Path) -> None:
    seen = tmp_path / "environment"
    program = tmp_path / "page"
    program.write_text(f"#!/bin/sh\nenv > {seen}\n")
    program.chmod(0o700)
    with workbench(tmp_path, points(14)) as bench:
        assert bench.move().exit_code == 0
        bench.sandbox.store.remove_vector(bench.index, "file-0001_1")
        look = bench.run_process("monitor", "--on-alert", str(program))
        token = bench.environment["CLOUDFLARE_API_TOKEN"]

    environment = seen.read_text(encoding="utf-8")
    assert look.exit_code == 4
    assert f"Q2V_VECTOR_INDEX={bench.index}" in environment
    assert token not in environment
    assert "CLOUDFLARE_API_TOKEN" not in environment
