"""fleet.toml is checked whole before a command is started; an error names file, table and key."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from migrate.errors import UsageError
from q2v.commands import COMMANDS
from q2v.fleet.file import read_fleet
from q2v.fleet.model import Fleet
from q2v.fleet.steps import allowed_commands, command_words
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
    words = command_words(fleet, docs, docs.steps[1], deadline_s=90.5)
    assert words[:2] == ["migrate", "--into-non-empty"]
    assert words[words.index("--requests-per-5min") + 1] == "700"
    assert words[words.index("--deadline-s") + 1] == "90"
    assert "--yes" in words
    assert "--budget" not in command_words(fleet, docs, docs.steps[0], deadline_s=None)


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
