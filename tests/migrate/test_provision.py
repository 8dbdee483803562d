"""Provisioning over the real adapters: kills, two at once, titles that name two namespaces."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from typing_extensions import override

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.kv_namespaces import WorkersKvNamespaces
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import PreconditionError, UsageError
from migrate.mapping.values import ValueRules
from migrate.provision import ProvisionReport, ProvisionRules, find_target, provision
from migrate.runtime import Runtime
from migrate.upload.settle import SettleRules
from sandbox.app import ACCOUNT_ID, API_TOKEN, SandboxApp, create_app
from sandbox.clock import ManualClock
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import KilledError
from tests.harness.network import InProcessNetwork, Trouble, Weather
from tests.harness.running.target import DIMENSIONS, INDEX

VALUES = ValueRules(
    vector_name="",
    source_dimensions=DIMENSIONS,
    dimensions=DIMENSIONS,
    reduce="none",
    metric="cosine",
)
RULES = ProvisionRules(
    metadata_indexes={"file_id": "string", "page": "number"},
    kv_title="files",
    settle=SettleRules(timeout_s=600, poll_s=1),
)
BEGAN = ("chunk-vectors", {"file_id": "string", "page": "number"}, ["files", "files-preview"])


@dataclass
class Site:
    """An account without anything in it."""

    app: SandboxApp

    def provision(
        self, weather: Weather | None = None, rules: ProvisionRules = RULES
    ) -> ProvisionReport:
        """One process."""
        with self.account(weather) as (vectors, namespaces, runtime):
            return provision(vectors, namespaces, VALUES, rules, runtime)

    @contextmanager
    def account(
        self, weather: Weather | None
    ) -> Iterator[tuple[VectorizeTarget, WorkersKvNamespaces, Runtime]]:
        clock = VirtualClock()
        http = CloudflareHttp(
            Account(parse_base_url("http://127.0.0.1:1/client/v4"), ACCOUNT_ID, API_TOKEN),
            budget=RequestBudget(None, clock=clock, requests_max=1_200),
            clock=clock,
            jitter=lambda: 0.5,
            transport=InProcessNetwork(self.app, weather=weather),
        )
        with closing(http):
            runtime = Runtime(clock=clock, progress=Silence())
            yield VectorizeTarget(http, INDEX), WorkersKvNamespaces(http), runtime

    def state(self) -> tuple[str, dict[str, str], list[str]]:
        """The index, its metadata indexes, and the titles of all namespaces."""
        (index,) = self.app.store.vectors.indexes.select_all()
        with self.account(None) as (vectors, _, _):
            listed = vectors.read_metadata_indexes()
        titles = sorted(one.title for one in self.app.store.kv.namespaces.select_all())
        return index.name, listed, titles


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    app = create_app(tmp_path / "target", clock=ManualClock())
    with closing(app):
        yield Site(app)


@dataclass
class Kill(Trouble):
    """The process ends before the request leaves, or before its answer arrives."""

    is_before: bool

    @override
    def before(self) -> None:
        if self.is_before:
            raise KilledError

    @override
    def after(self, response: httpx.Response) -> httpx.Response:
        raise KilledError


def killing_at(number: int, *, is_before: bool) -> Weather:
    return lambda count, _: Kill(is_before) if count == number else None


@pytest.mark.slow
@pytest.mark.fault("V04")
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
def test_killed_at_any_request_it_is_run_again_and_makes_everything_once(
    tmp_path: Path, *, is_before: bool
) -> None:
    kills = 0
    for number in range(1, 100):
        app = create_app(tmp_path / str(number), clock=ManualClock())
        with closing(app):
            site = Site(app)
            try:
                site.provision(killing_at(number, is_before=is_before))
            except KilledError:
                kills += 1
                site.provision()
            else:
                break
            assert site.state() == BEGAN, number

    assert kills > 8


@pytest.mark.fault("V04")
def test_a_second_one_changes_nothing_and_says_so(site: Site) -> None:
    first = site.provision()
    second = site.provision()

    assert len(first.missing) == 5
    assert first.index_created
    assert second == replace(first, index_created=False, missing=())


@pytest.mark.fault("V05")
def test_two_at_once_end_with_the_same_target(site: Site) -> None:
    """The second one runs as a whole between what the first reads and what it creates."""
    others: list[ProvisionReport] = []

    def weather(_: int, request: httpx.Request) -> Trouble | None:
        if request.method == "POST" and not others:
            others.append(site.provision())
        return None

    report = site.provision(weather)

    assert site.state() == BEGAN
    assert report.bindings == others[0].bindings


def test_titles_are_chosen_and_the_one_for_previews_may_be_left_out(site: Site) -> None:
    named = replace(RULES, kv_title="a", kv_preview_title="b")
    report = site.provision(rules=named)
    alone = site.provision(rules=replace(RULES, kv_title="c", with_preview=False))

    assert site.state()[2] == ["a", "b", "c"]
    assert "'b'" in report.kv_preview_namespace
    assert alone.kv_preview_namespace_id is None
    assert "preview" not in alone.bindings.toml() + alone.bindings.jsonc()


@pytest.mark.fault("V06", "F20")
def test_one_title_for_both_is_refused(site: Site) -> None:
    with pytest.raises(UsageError, match="--kv-preview-title: found 'files'"):
        site.provision(rules=replace(RULES, kv_preview_title="files"))


@pytest.mark.fault("V06")
def test_the_configured_namespace_is_not_the_one_for_previews(site: Site) -> None:
    preview = site.provision().kv_preview_namespace_id
    with pytest.raises(PreconditionError, match="is the one for previews"):
        site.provision(rules=replace(RULES, kv_namespace_id=preview))


@pytest.mark.fault("V07")
def test_looking_sends_reads_only(site: Site) -> None:
    sent: list[str] = []

    def weather(_: int, request: httpx.Request) -> Trouble | None:
        sent.append(request.method)
        return None

    with site.account(weather) as (vectors, namespaces, runtime):
        found = find_target(vectors, namespaces, VALUES, RULES, runtime)

    assert set(sent) == {"GET"}
    assert found.missing(RULES) == (
        "vector index 'chunk-vectors'",
        "metadata index 'file_id' (string)",
        "metadata index 'page' (number)",
        "KV namespace 'files'",
        "KV namespace 'files-preview' for previews",
    )
