"""A command has the flags of the settings that it reads, and no others: proved by real runs."""

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from q2v.commands import COMMANDS
from q2v.main import cli
from q2v.options import taken_by
from q2v.settings import BY_KEY, SETTINGS
from tests.harness.running.workbench import Workbench, points, workbench
from tests.q2v.settings.recorded import recorded_reads

HMAC_KEY = "0123456789abcdef" * 4
FLAGS = {setting.flag: setting.key for setting in SETTINGS if setting.flag is not None}
# A fleet reads the settings of each of its moves.
SETTINGS_COMMANDS = [name for name in COMMANDS if name not in {"sandbox", "explain", "fleet"}]

TAKEN = {name: {setting.key for setting in taken_by(name)} for name in SETTINGS_COMMANDS}

# The rehearsal puts its own sandbox, account and delays in the place of these.
OF_THE_REHEARSAL = {
    *(setting.key for setting in SETTINGS if setting.section in {"target", "limits"}),
    "snapshot.readers",
} - TAKEN["rehearse"]
# Read between two looks at a list that is not complete yet: whether there are two is chance.
ONLY_WHILE_WAITING = {"limits.poll_s"}

# Every way through a command that reads other settings than the ways before it, in an order in
# which each of them can succeed.
WAYS = (
    ("init", "--out", "FILE"),
    ("provision",),
    ("worker", "init", "PROJECT"),
    ("worker", "remove-steps", "PROJECT"),
    ("check",),
    ("check", "--verifier", "http://127.0.0.1:9"),
    ("plan",),
    ("runbook",),
    ("snapshot",),
    ("runbook", "SNAPSHOT"),
    ("snapshot", "--repair-part", "0"),
    ("provision",),
    ("plan", "SNAPSHOT"),
    ("worker", "init", "PROJECT"),
    ("migrate", "--dry-run"),
    ("migrate",),
    ("catch-up", "--frozen"),
    ("pace",),
    ("verify",),
    ("status",),
    ("list",),
    ("reconcile",),
    ("parity",),
    ("parity", "--live"),
    ("reconcile", "--verifier", "http://127.0.0.1:9"),
    ("gate", "--until", "2036-01-01T00:00+00:00"),
    ("report",),
    ("status",),
    ("monitor",),
    ("decommission",),
    ("archive",),
    ("rollback",),
    ("rollback", "--export-later-writes"),
    ("rollback", "--execute"),
    ("reset-target",),
    ("reset-target", "--execute"),
    ("restore", "SNAPSHOT", "--append", "--yes"),
    ("rehearse", "--live"),
)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Command -> the settings that its runs read."""
    found: dict[str, set[str]] = {name: set() for name in SETTINGS_COMMANDS}
    folder = tmp_path_factory.mktemp("reads")
    settings = {"Q2V_SNAPSHOT_HMAC_KEY": HMAC_KEY, "Q2V_VERIFIER_KEY": HMAC_KEY}
    with workbench(folder, points(80), settings=settings, provision=False) as bench:
        for words in WAYS:
            with recorded_reads() as reads:
                _run(bench, words)
            found[words[0]] |= reads
    return found


def _run(bench: Workbench, words: tuple[str, ...]) -> None:
    at = bench.directory
    if words[0] == "catch-up":
        bench.collection.points.pop()  # else there is nothing to plan
    bench.collection.is_writable = words[0] == "restore"
    if words[0] == "rehearse":
        bench.directory = at.with_name("rehearsal")
    snapshots = [path.parent.name for path in at.glob("*/manifest.json")]
    places = {"SNAPSHOT": str(at / snapshots[0]) if snapshots else "", "PROJECT": f"{at}-worker"}
    places["FILE"] = f"{at}-migration.toml"
    named = [places.get(word, word) for word in words]
    result = bench.run(*named)
    bench.directory = at
    assert [name for name in os.environ if name.startswith("Q2V_REHEARSAL_")] == []
    # The week is not over; there is no verifier.
    others = {"decommission": ExitCode.PRECONDITION, "check --verifier": ExitCode.UNAVAILABLE}
    expected = others.get(" ".join(words[:2]), ExitCode.DONE)
    assert result.exit_code == expected, f"{words}: {result.stderr}"
    if words[0] == "provision":
        bench.environment["Q2V_KV_NAMESPACE_ID"] = result.document["kv_namespace_id"]


def flags_of(command: str) -> set[str]:
    """The settings that have a flag in this command."""
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return {FLAGS[name] for each in found.params for name in each.opts if name in FLAGS}


@pytest.mark.slow
@pytest.mark.fault("F13")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("command", SETTINGS_COMMANDS)
def test_every_flag_of_a_command_is_read_by_it(command: str, read: dict[str, set[str]]) -> None:
    assert set() == flags_of(command) - read[command]


@pytest.mark.fault("F13")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("command", SETTINGS_COMMANDS)
def test_a_command_takes_what_it_reads(command: str, read: dict[str, set[str]]) -> None:
    """In both directions: what is read is taken, what is taken is read."""
    own = OF_THE_REHEARSAL if command == "rehearse" else set()
    declared = TAKEN[command]

    assert set() == read[command] - own - declared, "read, but not taken"
    assert set() == declared - read[command] - ONLY_WHILE_WAITING, "taken, but not read"


@pytest.mark.fault("F13")
@pytest.mark.parametrize("flag", sorted(FLAGS))
@pytest.mark.parametrize("command", SETTINGS_COMMANDS)
def test_a_flag_that_a_command_does_not_read_is_refused(command: str, flag: str) -> None:
    if FLAGS[flag] in TAKEN[command]:
        return
    value = [] if BY_KEY[FLAGS[flag]].is_flag else ["1"]

    result = CliRunner().invoke(cli, [command, flag, *value])

    assert result.exit_code == ExitCode.USAGE
    assert f"No such option '{flag}'" in result.stderr


@pytest.mark.fault("F13")
@pytest.mark.parametrize(
    "words",
    [
        ("plan", "SNAPSHOT", "--source-url", "http://127.0.0.1:6333"),
        ("plan", "SNAPSHOT", "--page-points", "10"),
        ("reconcile", "--no-source", "--transport", "rest"),
        ("reconcile", "--full", "--content-sample", "10"),
        ("provision", "--env", "production"),
        ("provision", "--no-preview", "--kv-preview-title", "x"),
        ("gate", "--recorded", "--kv-namespace-id", "x"),
        ("parity", "--vector-index", "x"),
        ("parity", "--live", "--vector-name", "x"),
        ("status", "--vector-index", "x"),
        ("report", "--vector-index", "x"),
        ("decommission", "--vector-index", "x"),
        ("archive", "--vector-index", "x"),
        ("snapshot", "--repair-part", "0", "--readers", "1"),
        ("snapshot", "--repair-part", "0", "--second-reading", "ids"),
        ("snapshot", "--repair-part", "0", "--allow-empty"),
        ("snapshot", "--of", "x"),
        ("rollback", "--leave-later-writes"),
        ("rollback", "--force", __file__),
        ("rollback", "--export-later-writes", "--yes"),
        ("rehearse", "--dimensions", "64"),
        ("rehearse", "--collection", "docs"),
        ("rehearse", "--live", "--chunks", "100"),
    ],
    ids=" ".join,
)
def test_a_flag_without_effect_in_this_form_of_a_command_is_refused(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """Before anything is opened: no folder appears, no request leaves."""
    folder = tmp_path / "nothing"

    result = CliRunner().invoke(cli, [*words, "--dir", str(folder)])

    assert result.exit_code == ExitCode.USAGE, result.output
    assert "no effect" in result.stderr or "--of without --repair-part" in result.stderr
    assert not folder.exists()


@pytest.mark.fault("F13")
def test_the_same_settings_in_the_environment_are_ignored_there(tmp_path: Path) -> None:
    """One migration has one file and one environment, for all of its commands."""
    environment = {"Q2V_LIMITS_DEADLINE_S": "60", "QDRANT_COLLECTION": "docs"}

    result = CliRunner().invoke(cli, ["status", "--dir", str(tmp_path)], env=environment)

    assert result.exit_code == ExitCode.DONE, result.stderr
