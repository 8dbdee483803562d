"""Settings for the whole suite: properties repeat, and every row of the fault matrix is covered."""

import gc
from collections.abc import Generator, Iterator
from contextlib import suppress
from importlib import import_module

import pytest
from hypothesis import HealthCheck, settings

from migrate.storage.disk import Disk, use_disk
from tests.docs.fault_matrix import read_rows
from tests.harness.fakes.kept_databases import kept_databases, new_databases
from tests.harness.fakes.quick_disk import QuickDisk
from tests.harness.order import spread
from tests.harness.tiers import EXAMPLES, OF_CHECK, SEARCH, share_of_examples

EARLY_WEIGHT = 60  # as many slow tests take as long
FAULT, TOLD = "fault", "told"  # names of test properties: a row covered, a line for the summary


def pytest_configure(config: pytest.Config) -> None:
    """Say how examples are drawn, before the modules with tests are imported."""
    settings.register_profile(
        "tier",
        derandomize=True,
        deadline=None,  # how long one takes says how busy the machine is, and nothing of the rule
        max_examples=round(EXAMPLES * share_of_examples(config.option.markexpr)),
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("tier")


@pytest.fixture(scope="session", autouse=True)
def _quick_storage() -> Iterator[None]:
    """Runs within this process wait for no disk, and use emptied databases of ids again."""
    with use_disk(QuickDisk()), kept_databases():
        yield


@pytest.fixture
def real_storage(_quick_storage: None) -> Iterator[None]:
    """The disk and the databases of the product, for tests of what they do."""
    with use_disk(Disk()), new_databases():
        yield


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two attempts at a service that fails, for tests of what comes after them."""
    monkeypatch.setattr("migrate.qdrant.retry.DELAY_S_FIRST", 0.01)
    monkeypatch.setattr("migrate.cloudflare.client.verdict.BACKOFF_S_BASE", 0.01)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Note the rows that each test names; when marks have left tests out, order the others."""
    _note_rows(config, items)
    yield
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes > 1:
        items[:] = spread(items, processes, file_of=lambda item: item.path, weight_of=_weight)


def _weight(item: pytest.Item) -> int:
    """Roughly how long a test takes; 0 for one that `make test` runs."""
    if item.get_closest_marker("early") is not None:
        return EARLY_WEIGHT
    return int(item.get_closest_marker("slow") is not None)


def _note_rows(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A name that is no row stops everything, and so does a row of `make faults` alone."""
    rows = read_rows()
    for item in items:
        for mark in item.iter_markers(FAULT):
            unknown = set(mark.args) - rows
            if unknown:
                raise pytest.UsageError(f"{item.nodeid}: no row {', '.join(sorted(unknown))}")
            item.user_properties += [(FAULT, row) for row in mark.args]
    checked = [item for item in items if item.get_closest_marker(SEARCH) is None]
    named = {row for item in checked for mark in item.iter_markers(FAULT) for row in mark.args}
    if _takes_all_files(config) and rows - named:
        raise pytest.UsageError(
            f"no test of make check names row {', '.join(sorted(rows - named))}"
        )


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Modules and tests are loaded without garbage collection: they stay, none is garbage."""
    gc.disable()
    try:
        _import_share(session.config)
        return (yield)
    finally:
        gc.enable()


def _import_share(config: pytest.Config) -> None:
    """Import some test modules before all are collected, each process others.

    The first import rewrites the asserts of a module, which takes longer than all else in it, and
    keeps the result in a file: no process then rewrites what another one has.
    """
    process = getattr(config, "workerinput", None)
    if process is None or not _takes_all_files(config):
        return
    number, processes = int(process["workerid"].removeprefix("gw")), process["workercount"]
    files = sorted((config.rootpath / "tests").rglob("test_*.py"))
    for file in files[number::processes]:
        name = ".".join(file.relative_to(config.rootpath).with_suffix("").parts)
        with suppress(Exception, pytest.skip.Exception):  # collecting it says what is wrong
            import_module(name)


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay as they are: no later garbage collection walks them."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Leave nothing that is called while the interpreter takes modules apart.

    The callback with which hypothesis times garbage collection would keep duckdb's module alive,
    and duckdb's binding would fill pages about objects that were never freed.
    """
    gc.unfreeze()
    gc.callbacks.clear()


def _properties(reporter: pytest.TerminalReporter, name: str) -> Iterator[str]:
    """The values of a property over all tests that passed."""
    for report in reporter.stats.get("passed", []):
        yield from (str(value) for key, value in report.user_properties if key == name)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After the whole suite: a row that no passing test covers is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput") or not _is_whole(session.config):
        return
    covered = set(_properties(reporter, FAULT))
    missing = sorted(read_rows() - covered)
    if missing and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    reporter.section_lines = [
        f"fault matrix: {len(covered)} rows covered by passing tests"
        + (f", not covered: {', '.join(missing)}" if missing else "")
    ]


def _is_whole(config: pytest.Config) -> bool:
    """Whether nothing that `make check` runs was left out by path, name or mark."""
    return (
        _takes_all_files(config)
        and not config.option.keyword
        and config.option.markexpr in {"", OF_CHECK}
        and not config.option.collectonly
    )


def _takes_all_files(config: pytest.Config) -> bool:
    """Whether no path leaves out a test."""
    return list(config.args) in ([*config.getini("testpaths")], ["tests"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests have to tell, and how much of the matrix they cover."""
    told = sorted(set(_properties(terminalreporter, TOLD)))
    for line in [*told, *getattr(terminalreporter, "section_lines", [])]:
        terminalreporter.write_line(line)
