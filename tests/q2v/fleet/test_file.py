"""fleet.toml is checked whole before a command is started; an error names file, table and key."""

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from migrate.errors import UsageError
from q2v.commands import COMMANDS
from q2v.fleet.file import read_fleet
from q2v.fleet.model import Fleet
from q2v.fleet.steps import (
    Given,
    allowed_commands,
    command_words,
    parse_step,
    reads_source,
    starts_a_run,
)
from q2v.main import cli

ACCOUNT = "0123456789abcdef0123456789abcdef"
MOVES = '[[move]]\nconfig = "docs.toml"\n[[move]]\nconfig = "wiki.toml"\n'


def settings(name: str, **more: str) -> str:
    target = {
        "account_id": ACCOUNT,
        "vector_index": f"{name}-index",
        "kv_namespace_id": f"{len(name):032d}" if name != "wiki" else "f" * 32,
        **more,
    }
    kv = {key: target.pop(key) for key in ("key_template", "counter_key") if key in target}
    lines = [f'{key} = "{value}"' for key, value in target.items()]
    return "\n".join(["[target]", *lines, "[kv]", *(f'{k} = "{v}"' for k, v in kv.items()), ""])


def fleet_of(folder: Path, text: str, **wiki: str) -> Fleet:
    for name, more in (("docs", {}), ("wiki", wiki)):
        (folder / f"{name}.toml").write_text(settings(name, **more))
    (folder / "fleet.toml").write_text(text)
    return read_fleet(folder / "fleet.toml", folder / "fleet")


def test_what_the_file_says_and_what_it_leaves_out(tmp_path: Path) -> None:
    text = f"""
    [fleet]
    at_once = 2
    tries = 5
    steps = ["snapshot", "migrate --into-non-empty"]
    [[budget]]
    account_id = "{ACCOUNT}"
    requests_per_5min = 700
    [[move]]
    config = "docs.toml"
    [[move]]
    name = "the-wiki"
    config = "wiki.toml"
    tries = 1
    steps = ["reconcile"]
    after = ["docs"]
    window = "22:00-04:00"
    dir = "elsewhere"
    """
    fleet = fleet_of(tmp_path, text)

    docs, wiki = fleet.moves
    assert (docs.name, docs.tries, docs.after, docs.window) == ("docs", 5, (), None)
    assert [step.name for step in docs.steps] == ["snapshot", "migrate --into-non-empty"]
    assert docs.directory == tmp_path / "fleet" / "docs"
    assert (wiki.name, wiki.tries, wiki.after) == ("the-wiki", 1, ("docs",))
    assert wiki.directory == tmp_path / "elsewhere"
    assert [step.name for step in fleet_of(tmp_path, MOVES).moves[0].steps] == [
        "snapshot",
        "migrate",
        "reconcile",
    ]
    words = command_words(fleet, docs, docs.steps[1], Given(deadline_s=90.5))
    assert words[:2] == ["migrate", "--into-non-empty"]
    assert words[words.index("--requests-per-5min") + 1] == "700"
    assert words[words.index("--deadline-s") + 1] == "90"
    assert "--yes" in words
    assert "--budget" not in command_words(fleet, docs, docs.steps[0])


@pytest.mark.fault("E09")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["fleet.toml", "no [[move]]"]),
        ("[[move]", ["fleet.toml", "syntax error"]),
        ("[fleet]\nat_onec = 2\n" + MOVES, ["[fleet]", "at_onec", "at_once"]),
        ("[fleet]\nat_once = 0\n" + MOVES, ["[fleet]", "at_once", "found 0", "from 1 to 64"]),
        ("[fleet]\nat_once = true\n" + MOVES, ["[fleet]", "at_once", "found true"]),
        ("[fleet]\nat_once = 1.5\n" + MOVES, ["at_once", "found 1.5", "whole number"]),
        ("fleet = 1\n" + MOVES, ["[fleet]", "found 1", "table"]),
        ("[move]\nconfig = 'docs.toml'", ["move", "[[move]]"]),
        ("[moves]\n" + MOVES, ["moves", "expected one of"]),
        (MOVES + "tires = 3", ["[[move]] 2", "tires", "tries"]),
        ("[[move]]\nname = 'docs'", ["[[move]] 1", "config", "found nothing"]),
        ("[[move]]\nconfig = 'none.toml'", ["[[move]] 1", "config", "none.toml"]),
        ("[[move]]\nconfig = '.'", ["[[move]] 1", "config", "not a regular file"]),
        ("[[move]]\nconfig = '.'\nname = 'docs'", ["[[move]] 1", "config", "not a regular file"]),
        ("[[move]]\nconfig = '/dev/null'", ["[[move]] 1", "config", "not a regular file"]),
        ("[[move]]\nconfig = 'pipe.toml'", ["[[move]] 1", "config", "not a regular file"]),
        ("[[move]]\nconfig = 'loop.toml'", ["[[move]] 1", "config", "loop.toml"]),
        ("[[move]]\nconfig = 'docs.toml/x'", ["[[move]] 1", "config", "docs.toml/x"]),
        ("[[move]]\nconfig = '" + "x" * 300 + "'", ["[[move]] 1", "config", "too long"]),
        ("[[move]]\nconfig = 'bad.toml'", ["[[move]] 1", "config", "bad.toml", "syntax error"]),
        ("[[move]]\nconfig = 'large.toml'", ["[[move]] 1", "config", "more than 1,048,576 B"]),
        ('[[move]]\nconfig = "docs\\u0000.toml"', ["[[move]] 1", "config", "control char"]),
        ('[[move]]\nconfig = "docs\\n.toml"', ["[[move]] 1", "config", "control char"]),
        ("[[move]]\nconfig = 's3://bucket/docs.toml'", ["[[move]] 1", "config", "this machine"]),
        ("[[move]]\nconfig = ''", ["[[move]] 1", "config", 'found ""']),
        ("[[move]]\nconfig = 5", ["[[move]] 1", "config", "found 5", "a text"]),
        ("[[move]]\nconfig = 2026-12-01", ["[[move]] 1", "config", "found 2026-12-01"]),
        ("[[move]]\nconfig = ['docs.toml']", ["[[move]] 1", "config", "a text"]),
        ("[[move]]\nconfig = {a = 1}", ["[[move]] 1", "config", "found a table"]),
        ("move = 5", ["move", "found 5", "[[move]]"]),
        ("move = [5]", ["[[move]] 1", "found 5", "expected a table"]),
        ("budget = 'x'\n" + MOVES, ["budget", "[[budget]]"]),
        ("[fleet]\npause_s = nan\n" + MOVES, ["pause_s", "found NaN", "a number"]),
        ("[fleet]\npause_s = inf\n" + MOVES, ["pause_s", "found Infinity", "a number"]),
        ("[fleet]\npause_s = '1'\n" + MOVES, ["pause_s", 'found "1"', "a number"]),
        ("[fleet]\ntries = 1" + "0" * 400 + "\n" + MOVES, ["tries", "whole number"]),
        ("[fleet]\nsteps = 'migrate'\n" + MOVES, ["[fleet]", "steps", "a list of texts"]),
        ("[fleet]\nsteps = [1979-05-27]\n" + MOVES, ["[fleet]", "steps", "a list of texts"]),
        (MOVES + "steps = ['']", ["[[move]] 2", "steps", "found ''"]),
        (MOVES + 'steps = ["migrate \\u0000"]', ["[[move]] 2", "steps", "control char"]),
        (MOVES + "steps = ['migrate \"x']", ["[[move]] 2", "steps", "cannot be split"]),
        (MOVES + "after = 'docs'", ["[[move]] 2", "after", "a list of texts"]),
        (MOVES + "after = [1]", ["[[move]] 2", "after", "a list of texts"]),
        (MOVES + "window = 22:00:00", ["[[move]] 2", "window", "found 22:00:00", "a text"]),
        (MOVES + "window = '9999-99-99T00:00Z/2026-12-06T04:00Z'", ["[[move]] 2", "window"]),
        (MOVES + "name = true", ["[[move]] 2", "name", "found true"]),
        (MOVES + 'name = "wiki\\n"', ["[[move]] 2", "name", "letters, digits"]),
        (MOVES + "dir = ''", ["[[move]] 2", "dir", 'found ""']),
        (MOVES + "dir = 7.5", ["[[move]] 2", "dir", "found 7.5"]),
        (MOVES + 'dir = "a\\nb"', ["[[move]] 2", "dir", "control char"]),
        (MOVES + "dir = 's3://bucket/wiki'", ["[[move]] 2", "dir", "this machine"]),
        (MOVES + "dir = 'docs.toml'", ["[[move]] 2", "dir", "is no folder"]),
        (MOVES + "dir = 'docs.toml/x/y'", ["[[move]] 2", "dir", "is no folder"]),
        (MOVES + "dir = 'pipe.toml'", ["[[move]] 2", "dir", "no folder"]),
        (MOVES + "dir = '" + "x" * 300 + "'", ["[[move]] 2", "dir", "too long"]),
        (MOVES + "dir = 'loop.toml'", ["[[move]] 2", "dir", "expected a folder"]),
        (MOVES + "dir = 'dangling'", ["[[move]] 2", "dir", "expected a folder"]),
        ("[[move]]\nconfig = 'docs.toml'\nname = 'a/b'", ["[[move]] 1", "name", "a/b"]),
        ("[[move]]\nconfig = 'docs.toml'\nname = 'logs'", ["[[move]] 1", "name", "logs"]),
        (MOVES + "name = 'docs'", ["two moves of the name docs"]),
        (MOVES + "dir = 'fleet/docs'", ["[[move]] 2", "dir", "as docs has"]),
        (MOVES + "dir = 'x/../fleet/docs'", ["[[move]] 2", "dir", "as docs has"]),
        (MOVES + "dir = 'fleet'", ["[[move]] 2", "dir", "the fleet itself uses"]),
        (MOVES + "dir = 'fleet/logs/wiki'", ["[[move]] 2", "dir", "the fleet itself uses"]),
        (MOVES + "dir = 'fleet/.budget'", ["[[move]] 2", "dir", "the fleet itself uses"]),
        (MOVES + "after = ['dosc']", ["[[move]] 2", "after", "dosc", "docs, wiki"]),
        (MOVES + "after = ['wiki']", ["after", "circle", "wiki after wiki"]),
        (
            "[[move]]\nconfig = 'docs.toml'\nafter = ['wiki']\n"
            "[[move]]\nconfig = 'wiki.toml'\nafter = ['docs']",
            ["[[move]] 1", "after", "circle", "docs after wiki after docs"],
        ),
        (MOVES + "window = '22-04'", ["[[move]] 2", "window", "22-04", "22:00-04:00"]),
        (MOVES + "steps = ['migrat']", ["[[move]] 2", "steps", "migrat", "migrate"]),
        (MOVES + "steps = ['fleet run']", ["[[move]] 2", "steps", "fleet run"]),
        (MOVES + "steps = ['migrate --dir x']", ["steps", "--dir", "the fleet sets"]),
        (MOVES + "steps = ['migrate --execute']", ["steps", "--execute", "does not take"]),
        (MOVES + "steps = ['migrate -h']", ["steps", "'migrate -h'", "does not take"]),
        (MOVES + "steps = ['migrate --help']", ["steps", "--help", "does not take"]),
        (MOVES + "steps = ['snapshot | tee x']", ["steps", "no use for | tee x"]),
        (MOVES + "steps = ['migrate --waive']", ["steps", "requires an argument"]),
        (MOVES + "steps = ['migrate --vector-index x']", ["--vector-index", "settings file"]),
        (MOVES + "steps = ['migrate --account-id=x']", ["--account-id", "settings file"]),
        (MOVES + "steps = ['migrate', 'migrate']", ["steps", "twice"]),
        (MOVES + "steps = []", ["steps", "no step"]),
        (
            "[[budget]]\naccount_id = 'ffffffffffffffffffffffffffffffff'\n"
            "requests_per_5min = 900\n" + MOVES,
            ["config", ACCOUNT, "[[budget]]"],
        ),
        (
            f"[[budget]]\naccount_id = '{ACCOUNT}'\n" + MOVES,
            ["[[budget]] 1", "requests_per_5min", "found nothing"],
        ),
        (
            f"[[budget]]\naccount_id = '{ACCOUNT}'\nrequests_per_5min = 1201\n" + MOVES,
            ["[[budget]] 1", "requests_per_5min", "found 1201", "1200"],
        ),
        (
            f"[[budget]]\naccount_id = '{ACCOUNT}'\nrequests_per_5min = 9\n" * 2 + MOVES,
            ["[[budget]] 2", "account_id", "each account once"],
        ),
        (
            f"[[budget]]\naccount_id = '{ACCOUNT}'\nrequests_per_5min = 9\n"
            "[[budget]]\naccount_id = 'other'\nrequests_per_5min = 9\n" + MOVES,
            ["[[budget]]", "other", "account of a move"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_table_and_key(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "bad.toml").write_text("[target")
    (tmp_path / "large.toml").write_text("#" * 1_048_577)
    with pytest.raises(UsageError) as found:
        fleet_of(tmp_path, text)

    for each in said:
        assert each in str(found.value)
    assert found.value.remedy


@pytest.mark.fault("E09")
@pytest.mark.parametrize(
    ("wiki", "said"),
    [
        ({"vector_index": "docs-index"}, "vector index docs-index"),
        ({"kv_namespace_id": f"{4:032d}"}, "'_vector_count'"),
        (
            {"kv_namespace_id": f"{4:032d}", "counter_key": "wiki-count"},
            "'file:'",
        ),
    ],
)
def test_two_moves_do_not_write_one_index_or_one_key(
    tmp_path: Path, wiki: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError) as found:
        fleet_of(tmp_path, MOVES, **wiki)
    assert "[[move]] 2" in str(found.value)
    assert said in str(found.value)
    assert "docs" in str(found.value)


def test_one_namespace_is_shared_by_moves_of_other_keys(tmp_path: Path) -> None:
    fleet = fleet_of(
        tmp_path,
        MOVES,
        kv_namespace_id=f"{4:032d}",
        counter_key="wiki-count",
        key_template="wiki:{file_id}",
    )
    assert len(fleet.moves) == 2


@pytest.mark.fault("E09")
def test_an_index_that_the_environment_gives_to_all_is_named_with_its_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("Q2V_VECTOR_INDEX", "one-for-all")
    with pytest.raises(UsageError, match=r"one-for-all \(from environment Q2V_VECTOR_INDEX\)"):
        fleet_of(tmp_path, MOVES)


@pytest.mark.fault("E09")
@pytest.mark.parametrize("name", ["loop", "docs.toml"])
def test_a_folder_of_the_fleet_that_cannot_be_one_is_named(tmp_path: Path, name: str) -> None:
    fleet_of(tmp_path, MOVES)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=f"--dir .*/{name}: found no place for .*/{name}/docs"):
        read_fleet(tmp_path / "fleet.toml", tmp_path / name)


@pytest.mark.fault("E09")
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "large", "unreadable link"])
def test_a_fleet_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "fleet.toml"
    match kind:
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "loop":
            file.symlink_to("fleet.toml")
        case "large":
            file.write_text("#" * 1_048_577)
        case _:
            file.symlink_to("/dev/null")
    with pytest.raises(UsageError, match=r"--file .*fleet\.toml: found"):
        read_fleet(file, tmp_path / "fleet")


def test_files_may_be_links_as_in_a_volume_of_kubernetes(tmp_path: Path) -> None:
    data = tmp_path / "..data"
    data.mkdir()
    (data / "docs.toml").write_text(settings("docs"))
    (data / "fleet.toml").write_text("[[move]]\nconfig = 'docs.toml'\n")
    for name in ("docs.toml", "fleet.toml"):
        (tmp_path / name).symlink_to(f"..data/{name}")

    (move,) = read_fleet(tmp_path / "fleet.toml", tmp_path / "fleet").moves

    assert move.name == "docs"


def test_a_comment_and_an_order_of_lines_are_no_change(tmp_path: Path) -> None:
    before = fleet_of(tmp_path, MOVES).moves[0]
    lines = (tmp_path / "docs.toml").read_text().splitlines()
    assert lines[0] == "[target]"
    text = "\n".join(["# moved on Friday", lines[0], *lines[3:0:-1], *lines[4:], ""])
    (tmp_path / "docs.toml").write_text(text)
    after = read_fleet(tmp_path / "fleet.toml", tmp_path / "fleet").moves[0]
    (tmp_path / "docs.toml").write_text(text.replace("docs-index", "docs-indeks"))
    changed = read_fleet(tmp_path / "fleet.toml", tmp_path / "fleet").moves[0]

    assert before.config_sha256 != after.config_sha256
    assert before.settings_sha256 == after.settings_sha256 != changed.settings_sha256


AFTER = "[[move]]\nconfig = 'docs.toml'\n[[move]]\nconfig = 'wiki.toml'\nafter = ['docs']\n"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (("rollback --execute",), {"docs": ("wiki",), "wiki": ()}),
        (("reset-target --execute", "status"), {"docs": ("wiki",), "wiki": ()}),
        (("reconcile",), {"docs": (), "wiki": ("docs",)}),
        ((), {"docs": (), "wiki": ("docs",)}),
    ],
)
def test_what_comes_after_another_is_undone_before_it(
    tmp_path: Path, steps: tuple[str, ...], expected: dict[str, tuple[str, ...]]
) -> None:
    fleet_of(tmp_path, AFTER)
    fleet = read_fleet(tmp_path / "fleet.toml", tmp_path / "fleet", steps=steps)
    assert {move.name: move.after for move in fleet.moves} == expected


def test_the_namespace_that_a_provision_made_goes_to_the_later_steps(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, MOVES)
    docs, _ = fleet.moves
    target = replace(docs.settings.target, kv_namespace_id=None)
    unset = replace(docs, settings=replace(docs.settings, target=target))
    given = Given(kv_namespace_id="0a" * 16)

    for step, expected in (("migrate", ["0a" * 16]), ("provision", []), ("snapshot", [])):
        words = command_words(fleet, unset, parse_step(step), given)
        assert words[words.index("--config") + 1] == str(docs.config)
        assert [after for word, after in pairwise(words) if word == "--kv-namespace-id"] == expected
    assert "--kv-namespace-id" not in command_words(fleet, docs, parse_step("migrate"), given)


@pytest.mark.fault("E09")
def test_two_moves_do_not_provision_one_namespace_for_the_same_keys(tmp_path: Path) -> None:
    for name in ("docs", "wiki"):
        text = settings(name).replace("kv_namespace_id", "# kv_namespace_id")
        (tmp_path / f"{name}.toml").write_text(text)
    (tmp_path / "fleet.toml").write_text(
        "[fleet]\nsteps = ['provision --kv-title files', 'migrate']\n" + MOVES
    )
    with pytest.raises(UsageError, match="in namespace files"):
        read_fleet(tmp_path / "fleet.toml", tmp_path / "fleet")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("plan", True),
        ("plan --allow-cast", True),
        ("plan 20261201T200000Z-f9e4ca", False),
        ("plan --collection chunks", False),
        ("plan --page-points 10", False),
        ("check", False),
    ],
)
def test_a_plan_that_says_how_the_source_is_read_reads_it(step: str, expected: bool) -> None:
    assert reads_source(parse_step(step)) is expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (("snapshot", "migrate", "reconcile"), True),
        (("migrate --into-non-empty",), False),
        (("migrate --dry-run",), False),
        (("rollback --execute", "snapshot", "migrate"), False),
        (("reset-target --execute", "migrate"), False),
        (("catch-up", "reconcile"), False),
    ],
)
def test_which_steps_need_an_index_without_an_earlier_run(
    steps: tuple[str, ...], expected: bool
) -> None:
    assert starts_a_run(map(parse_step, steps)) is expected


@pytest.mark.fault("E09")
def test_one_folder_under_two_names_is_one_folder(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").symlink_to("here")
    with pytest.raises(UsageError, match=r"\[\[move\]\] 2: dir: found .*there, as docs has"):
        fleet_of(
            tmp_path,
            "[[move]]\nconfig = 'docs.toml'\ndir = 'here'\n"
            "[[move]]\nconfig = 'wiki.toml'\ndir = 'there'\n",
        )


@pytest.mark.fault("E09")
def test_a_circle_is_shown_without_the_moves_that_are_not_in_it(tmp_path: Path) -> None:
    (tmp_path / "blog.toml").write_text(settings("blog"))
    with pytest.raises(UsageError, match=r"a circle \(docs after wiki after docs\)"):
        fleet_of(
            tmp_path,
            "[[move]]\nconfig = 'docs.toml'\nafter = ['wiki', 'blog']\n"
            "[[move]]\nconfig = 'wiki.toml'\nafter = ['docs']\n"
            "[[move]]\nconfig = 'blog.toml'\n",
        )


def test_the_steps_are_the_commands_that_work_in_a_folder_and_print_a_document() -> None:
    fitting = set()
    for name, entry in COMMANDS.items():
        found = {each for param in entry.load().params for each in param.opts}
        arguments = [p for p in entry.load().params if isinstance(p, click.Argument)]
        is_free = not any(one.required for one in arguments)
        if found >= {"--dir", "--config", "--json"} and is_free:
            fitting.add(name)

    # These write a file for people, slow all commands down, or have a folder of another kind.
    assert fitting - set(allowed_commands()) == {"init", "pace", "rehearse"}
    assert set(allowed_commands()) <= fitting


@pytest.mark.fault("E09")
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_a_step_for_help_is_refused_also_after_help_was_shown(tmp_path: Path, flag: str) -> None:
    """Click keeps a help option in the command; and the check leaves none behind."""
    for _ in range(2):
        assert CliRunner().invoke(cli, ["migrate", flag]).exit_code == 0
        with pytest.raises(UsageError, match="does not take"):
            fleet_of(tmp_path, MOVES + f"steps = ['migrate {flag}']")
