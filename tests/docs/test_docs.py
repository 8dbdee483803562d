"""What README, RUNBOOK and the formats say is what the code does."""

import doctest
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import pytest

from migrate.errors import ExitCode
from migrate.mapping.payload import Reason
from migrate.mapping.transforms.table import read_transforms
from migrate.plan.record import RunPlan
from migrate.plan.saved.record import SavedPlan
from migrate.run.journal import Kind
from migrate.run.next_step import runbook_table
from migrate.snapshot.manifest import SnapshotManifest
from migrate.storage import layout
from q2v.commands import COMMANDS
from q2v.main import cli
from q2v.words.drift import DRIFT
from q2v.words.reasons import REASONS
from reconcile import session
from reconcile.gate import criteria
from reconcile.rollback.manifest import RollbackManifest
from tests.docs.settings_table import docs_table
from tools import messages, runbook_page

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]
    if ".venv" not in path.parts
)
PACKAGES = ("q2v", "migrate", "reconcile", "rehearsal", "sandbox", "benchmarks", "tests", "tools")
MODULES = [
    str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
]
_MODULE = re.compile(r"`([a-z0-9_/]+\.py)`")
_WORD = re.compile(r"`([a-z0-9_/]+)`")
OF_THE_SERVICE = {"created_on", "unsuccessful_keys"}  # members of its answers
_COMMAND = re.compile(r"`(?:\.venv/bin/)?q2v ([a-z-]+)([^`\n]*)`")
FLAGS_OF_Q2V = {name for parameter in cli.get_params(click.Context(cli)) for name in parameter.opts}
_LINK = re.compile(r"\]\(([^)#]+)(?:#([^)]+))?\)")


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _options(command: str) -> set[str]:
    context = click.Context(cli)
    found = cli.get_command(context, command)
    assert found is not None
    return {name for parameter in found.params for name in parameter.opts}


def _first_cells(text: str, marker: str) -> list[str]:
    """The backquoted names in the first column of the table after a marker."""
    table = text.partition(f"<!-- {marker} -->")[2].lstrip("\n").partition("\n\n")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def _meanings(text: str, mark: str) -> dict[str, str]:
    """First cell without its backquotes -> second cell, of the table behind a mark."""
    table = text.partition(f"<!-- {mark} -->")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", table, flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_flag_that_a_page_names_exists(page: Path) -> None:
    for name, rest in _COMMAND.findall(page.read_text(encoding="utf-8")):
        if name in FLAGS_OF_Q2V:
            continue
        assert name in COMMANDS, f"{page.name} names q2v {name}"
        known = _options(name)
        for flag in re.findall(r"--[a-z-]+", rest):
            assert flag in known, f"{page.name}: q2v {name} has no {flag}"


def _is_there(module: str) -> bool:
    """Whether a path, perhaps without its first folders or its .py, is a module or a package."""
    return any(
        f"/{path}".endswith((f"/{module}", f"/{module}.py", f"/{module}/__init__.py"))
        for path in MODULES
    )


def test_every_module_that_the_architecture_names_exists() -> None:
    text = _text("docs/architecture.md")
    failures = text.partition("\n## What can fail, and who notices\n")[2].partition("\n## ")[0]
    noticing = " ".join(line.split("|")[2] for line in failures.splitlines() if "|" in line)
    named = set(_MODULE.findall(text)) | set(_WORD.findall(noticing)) - OF_THE_SERVICE

    assert len(named) > 60
    assert [module for module in sorted(named) if not _is_there(module)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, _ in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_holds_no_marks_of_a_merge(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if re.match(r"<{7} |>{7} |={7}$", line)] == []


def test_the_index_of_decisions_names_each_of_them_with_its_title() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    titles = [re.match(r"# (\d{4}):? (.+)\n", page.read_text(encoding="utf-8")) for page in pages]
    lines = re.findall(
        r"^\* \[(\d{4})\]\((\S+)\): (.+?)(?:\. Superseded by .+)?$",
        _text("docs/decisions/README.md"),
        re.MULTILINE,
    )

    assert sorted(lines) == [
        (title[1], page.name, title[2]) for title, page in zip(titles, pages, strict=True) if title
    ]
    assert len(pages) > 80


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), flags=re.MULTILINE))
    pages = _text("README.md") + _text("RUNBOOK.md")
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", pages, flags=re.MULTILINE))

    assert set() == named - targets
    promised = {"help", "rehearse", "test", "check", "plan", "snapshot", "migrate", "reconcile"}
    promised |= {"rollback", "bench", "faults", "clean"}
    assert set() == promised - targets


def test_no_page_expects_of_make_alone_more_than_a_list() -> None:
    """Without a target it shows the targets; `make setup` installs."""
    assert "DEFAULT_GOAL := help" in _text("Makefile")
    pages = [page for page in PAGES if page.parent.name != "decisions"]
    assert [page.name for page in pages if "`make`" in page.read_text(encoding="utf-8")] == []


def test_the_runbook_holds_every_stage_and_every_command_of_use() -> None:
    text = _text("RUNBOOK.md")
    for name in COMMANDS:
        if name != "sandbox":
            assert f"q2v {name}" in text, name
    for stage in re.findall(r"^## ([a-z]+)$", text, flags=re.MULTILINE):
        section = text.partition(f"\n## {stage}\n")[2].partition("\n## ")[0]
        if stage not in {"freeze", "cutover"}:
            for part in ("Before", "Command", "You see", "Undo"):
                assert f"**{part}**" in section, f"{stage} lacks {part}"


def test_the_runbooks_exit_codes_are_those_of_the_code() -> None:
    table = _text("RUNBOOK.md").partition("<!-- exit-codes -->")[2]
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", table, flags=re.MULTILINE)

    assert [(str(int(one)), one.meaning, one.run_again) for one in ExitCode] == rows


def test_the_runbook_is_the_page_of_the_code() -> None:
    """To change it: q2v/runbook/, then `.venv/bin/python -m tools.runbook_page > RUNBOOK.md`."""
    assert runbook_page.main() == _text("RUNBOOK.md")


@pytest.mark.slow
def test_the_index_of_messages_is_that_of_the_code() -> None:
    """To renew it: `.venv/bin/python -m tools.messages > q2v/runbook/messages.json`."""
    assert messages.document() == _text("q2v/runbook/messages.json")


@pytest.mark.fault("F11")
def test_the_runbooks_next_steps_are_those_of_the_code() -> None:
    table = _text("RUNBOOK.md").partition("<!-- next-steps -->\n")[2]

    assert runbook_table() == table.partition("<!-- /next-steps -->")[0]


def test_the_runbooks_rows_of_the_gate_are_those_of_the_code() -> None:
    table = _text("RUNBOOK.md").partition("<!-- gate-rows -->\n")[2]

    assert criteria.docs_table() == table.partition("<!-- /gate-rows -->")[0]


def test_the_settings_page_is_the_table_of_the_code() -> None:
    assert _text("docs/settings.md").rstrip().endswith(docs_table().rstrip())


@pytest.mark.parametrize(
    ("record", "added"),
    [
        (SnapshotManifest, {"format", "content_root", "hmac", "sha256"}),
        (RunPlan, {"format", "fingerprint", "hmac", "sha256"}),
        (RollbackManifest, {"format", "sha256"}),
        (SavedPlan, {"format", "kind", "fingerprint", "hmac", "sha256"}),
    ],
)
def test_the_formats_page_names_every_field(record: type, added: set[str]) -> None:
    named = _first_cells(_text("docs/formats.md"), f"fields: {record.__name__}")

    assert {field.name for field in fields(record)} | added == set(named)
    assert len(named) == len(set(named))


def test_the_formats_page_names_every_journal_entry_and_every_reason() -> None:
    text = _text("docs/formats.md")

    assert [kind.value for kind in Kind] == _first_cells(text, "kinds: run")
    assert [kind.value for kind in session.Kind] == _first_cells(text, "kinds: reconcile")
    assert [reason.value for reason in Reason] == _first_cells(text, "reasons")


@pytest.mark.fault("E04")
def test_the_formats_page_says_of_reasons_and_classes_what_explain_says() -> None:
    text = _text("docs/formats.md")
    reasons = {reason.value: means for reason, (means, _) in REASONS.items()}

    assert _meanings(text, "reasons") == reasons
    assert _meanings(text, "drift") == {name: means for name, (means, _) in DRIFT.items()}


def test_ci_calls_only_the_makefile() -> None:
    assert "make check" in _text(".ci/run")
    assert re.search(r"^check:.*\btest\b", _text("Makefile"), flags=re.MULTILINE)


def test_the_formats_show_every_place_that_the_layout_names() -> None:
    table = _text("docs/formats.md").partition("<!-- places -->\n")[2]

    assert layout.docs_table() + "\n" == table.partition("<!-- /places -->")[0]


@pytest.mark.parametrize("place", layout.PLACES, ids=lambda place: place.path)
def test_the_example_of_a_place_has_the_form_of_its_path(place: layout.Place) -> None:
    assert layout.find_place(place.example) == place


def test_the_rules_on_the_page_of_transforms_are_rules() -> None:
    (table,) = re.findall(r"```toml\n(.*?)```", _text("docs/transforms.md"), re.DOTALL)
    tables = tomllib.loads(table)["mapping"]["transform"]

    rules = read_transforms(tables)

    kinds = {next(iter(rule.table())) for rule in rules}
    assert kinds == {"drop", "rename", "flatten", "to_text", "nulls", "truncate", "constant"}


def test_the_example_of_a_long_id_is_what_the_code_makes() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", _text("docs/long-ids.md"), re.DOTALL)
    parsed = doctest.DocTestParser().get_doctest(example, {}, "long-ids", None, 0)

    assert parsed.examples
    assert doctest.DocTestRunner().run(parsed).failed == 0
