"""One trouble at each request of a migrate in turn: what the tool says, and that it goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from migrate.errors import ExitCode, MigrationError
from migrate.model.canonical import encode_canonical_json
from tests.faults.storm import Garbled, Instead, LostAnswer, LostRequest
from tests.faults.sweep import STAGES, WRITES, StageTemplate, build_template
from tests.harness.network import Trouble, call_app
from tests.harness.tiers import every_one
from tests.harness.world import World

TELLING = "https://elsewhere.example/"


def _answer(status: int, **headers: str) -> Callable[[], Trouble]:
    code = 10_000 if status in {401, 403} else 1
    errors = [{"code": code, "message": "no"}]
    body = encode_canonical_json({"success": False, "errors": errors, "result": None})
    return lambda: Instead(httpx.Response(status, headers=headers, content=body))


@dataclass(frozen=True, slots=True)
class _Case:
    """A trouble at one request, and the exit code it must end with; None: it is retried away."""

    trouble: Callable[[], Trouble]
    exit_code: ExitCode | None = None


CASES = {
    "lost on the way": _Case(lambda: LostRequest(httpx.ConnectError)),
    "answer lost": _Case(lambda: LostAnswer(httpx.ReadError)),
    "answer cut short": _Case(lambda: Garbled(lambda body: body[: len(body) // 2])),
    "a page instead of JSON": _Case(lambda: Garbled(lambda _: b"<html>sorry</html>")),
    "503": _Case(_answer(503)),
    "401": _Case(_answer(401), ExitCode.ACCESS),
    "403": _Case(_answer(403), ExitCode.ACCESS),
    "302": _Case(_answer(302, location=TELLING), ExitCode.UNAVAILABLE),
    "307": _Case(_answer(307, location=TELLING), ExitCode.UNAVAILABLE),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> StageTemplate:
    return build_template(STAGES["migrate"], tmp_path_factory.mktemp("template"))


def _some_for(name: str, kinds: Sequence[str]) -> list[int]:
    """The first request of each kind that writes, and by turns of every third other kind.

    So each kind of request meets three troubles, and what writes meets all.
    """
    turn = list(CASES).index(name)
    return [
        kinds.index(kind) + 1
        for number, kind in enumerate(dict.fromkeys(kinds))
        if kind.endswith(WRITES) or (number + turn) % 3 == 0
    ]


def _all_for(_: str, kinds: Sequence[str]) -> list[int]:
    return every_one(kinds)


@pytest.mark.slow
@pytest.mark.fault("N01", "N02", "N04", "N06", "N11", "N12", "N13")
@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("chosen", [_some_for, pytest.param(_all_for, marks=pytest.mark.search)])
def test_a_trouble_at_any_request_ends_as_promised_and_the_same_command_goes_on(
    name: str,
    chosen: Callable[[str, Sequence[str]], list[int]],
    template: StageTemplate,
    tmp_path: Path,
) -> None:
    case = CASES[name]
    kinds = [step.place for step in template.truth.steps if step.kind == "send"]
    assert len(kinds) > 10
    for at in chosen(name, kinds):
        with template.world(tmp_path / "life") as world:
            world.weather = lambda number, _, at=at: case.trouble() if number == at else None
            ended = _migrate(world)
            assert ended is case.exit_code, f"request {at}: {ended}"
            sent = len(world.sent_at)
            assert case.exit_code is None or sent == at, "it asked again"
            acknowledged, uploads = world.acknowledged_uploads(), len(world.sent_uploads)

            world.weather = None
            assert _migrate(world) is None
            assert world.state() == template.truth.state, f"request {at}"
            assert not acknowledged & set(world.sent_uploads[uploads:])


@pytest.mark.slow
@pytest.mark.fault("N07")
def test_a_first_try_that_arrives_after_the_second_changes_nothing(
    template: StageTemplate, tmp_path: Path
) -> None:
    arrived = 0
    for at in _writes_of(template):
        with template.world(tmp_path / "life") as world:
            late = _lose_first_try(world, at)
            assert _migrate(world) is None
            for request in late:
                call_app(world.app, request)
            arrived += len(late)
            assert world.state() == template.truth.state, f"request {at}"
    assert arrived > 5, "some of the requests write"


def _writes_of(template: StageTemplate) -> list[int]:
    """The numbers of the requests that write: no other one is lost and kept."""
    sends = [step.place for step in template.truth.steps if step.kind == "send"]
    return [at for at, name in enumerate(sends, start=1) if name.endswith(WRITES)]


@pytest.mark.slow
@pytest.mark.fault("N07", "R03")
def test_a_first_try_that_arrives_after_a_correction_is_found_by_the_last_reconcile(
    template: StageTemplate, tmp_path: Path
) -> None:
    """Nothing can keep it from arriving; it must not go unseen."""
    first_upload = _writes_of(template)[0]
    with template.world(tmp_path / "life") as world:
        late = _lose_first_try(world, first_upload)
        assert _migrate(world) is None
        for payload in world.source.points.values():
            payload["text"] = "corrected"
            payload["chunk_hash"] = "0" * 64
        world.weather = None
        with world.calm():
            world.clock.wait(5)
            world.snapshot()
            world.migrate()
            assert world.reconcile().verdict == "equal"
        corrected = world.state()

        [request] = late
        call_app(world.app, request)
        assert world.state() != corrected

        with world.calm():
            report = world.reconcile()
            assert report.verdict == "drift"
            drift = {name: count for name, count in report.drift.items() if count}
            assert drift == {"mismatched": 12}, "the vectors of that upload, and no other"
            world.migrate()
            assert world.reconcile().verdict == "equal"
        assert world.state() == corrected


def _lose_first_try(world: World, at: int) -> list[httpx.Request]:
    """Loses that request; what is lost is kept, and may arrive one day."""
    late: list[httpx.Request] = []

    def weather(number: int, request: httpx.Request) -> Trouble | None:
        if number != at:
            return None
        request.read()
        late.append(request)
        return LostRequest(httpx.ReadTimeout)

    world.weather = weather
    return late


def _migrate(world: World) -> ExitCode | None:
    with world.calm():
        try:
            world.migrate()
        except MigrationError as error:
            return error.exit_code
    return None
