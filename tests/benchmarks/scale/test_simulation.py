"""The simulation keeps the limiter's rule, does all of its work, and agrees with the arithmetic."""

from dataclasses import replace
from math import inf, isinf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scale.arithmetic import Size
from benchmarks.scale.events import (
    QUIET,
    Budget,
    Faults,
    Line,
    Loop,
    Outcome,
    Pause,
    Requests,
    Stage,
    Step,
    Task,
    Units,
    World,
    simulate,
)
from benchmarks.scale.stages import CASES, ROUGH, Case, snapshot
from benchmarks.scale.tables import WIDE
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.budget.forecast import duration_s
from tests.harness.fakes.clock import VirtualClock
from tests.harness.tiers import examples, one_in

APART_MAX = 0.01  # of the whole duration, between arithmetic and simulation
MILLIONS = {size.points // 1_000_000: size for size in WIDE}
OVER_REST = {"read-back by REST", "rollback by id"}
QUICK = [(millions, name) for millions in (1, 10) for name in CASES if name not in OVER_REST]
LARGE = [(millions, name) for millions in (100, 1_000) for name in CASES if name not in OVER_REST]
LONG = [(millions, name) for millions in (1, 100) for name in sorted(OVER_REST)]
LONGEST = [(millions, name) for millions in (10, 1_000) for name in sorted(OVER_REST)]


def new_world(requests_max: int, faults: Faults = QUIET, *, seed: int = 1) -> World:
    loop = Loop()
    budget = Budget(loop, requests_max)
    budget.sent_s = []
    return World(
        loop=loop,
        budget=budget,
        line=Line(loop, 1_000_000),
        random=Random(seed),
        faults=faults,
    )


def alone(task: Task, world: World, *, keeps_every: int = 1) -> Outcome:
    return simulate(Stage(steps=(Step(task=task, keeps_every=keeps_every),)), world)


@pytest.mark.parametrize(
    ("millions", "name"),
    [
        *one_in(3, [*QUICK, *LARGE]),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in LONG),
        *(pytest.param(*one, marks=pytest.mark.search) for one in LONGEST),
    ],
)
def test_the_arithmetic_is_what_the_simulation_shows(millions: int, name: str) -> None:
    case = CASES[name](MILLIONS[millions])

    assert case.run().seconds == pytest.approx(case.expected_s, rel=APART_MAX)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("listing", 10),
        ("listing", 100),
        ("read-back by REST", 100),
        ("rollback by id", 10),
        pytest.param("read-back by REST", 10, marks=pytest.mark.search),
        pytest.param("rollback by id", 100, marks=pytest.mark.search),
    ],
)
def test_an_event_for_many_requests_takes_as_long_as_they_do(name: str, group: int) -> None:
    """At a million, where one by one is quick too."""
    case = CASES[name](MILLIONS[1])
    steps = tuple(replace(step, task=_grouped(step.task, group)) for step in case.stage.steps)
    grouped = replace(case, group=group, stage=replace(case.stage, steps=steps))

    seconds = grouped.run().seconds

    assert seconds == pytest.approx(case.run().seconds, rel=APART_MAX, abs=group * 0.6)


def _grouped(task: Task, group: int) -> Task:
    if not isinstance(task, Requests):
        return task
    return replace(task, count=-(-task.count // group), group=group)


faults_drawn = st.builds(
    Faults,
    failed=st.sampled_from([0.0, 0.1, 0.4]),
    limited=st.sampled_from([0.0, 0.05]),
    retry_after_s=st.floats(1, 400),
    driver_s=st.sampled_from([inf, 300.0, 2_000.0]),
    restart_s=st.floats(0, 700),
    worker_s=st.sampled_from([inf, 20.0, 200.0]),
    respawn_s=st.floats(0, 100),
)


@settings(max_examples=examples(100), deadline=None)
@given(
    requests_max=st.integers(1, 8),
    count=st.integers(1, 120),
    answer_s=st.floats(0.01, 40),
    in_flight=st.integers(1, 6),
    faults=faults_drawn,
    seed=st.integers(0, 2**32),
)
def test_no_window_holds_more_than_the_budget_and_all_is_done(
    *, requests_max: int, count: int, answer_s: float, in_flight: int, faults: Faults, seed: int
) -> None:
    world = new_world(requests_max, faults, seed=seed)
    task = Requests(count=count, answer_s=answer_s, in_flight=in_flight, bytes_each=10_000)

    outcome = alone(task, world)

    sent_s = world.budget.sent_s
    assert sent_s is not None
    assert sent_s == sorted(sent_s)
    for former_s, later_s in zip(sent_s, sent_s[requests_max:], strict=False):
        assert later_s - former_s >= 300
    assert world.finished == count
    assert len(sent_s) == count + outcome.repeated


@settings(max_examples=examples(100), deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 6),
    st.floats(0, 50_000),
    faults_drawn,
    st.integers(0, 2**32),
)
def test_every_unit_is_done_whoever_dies(
    count: int, workers: int, size: float, faults: Faults, seed: int
) -> None:
    world = new_world(900, faults, seed=seed)
    task = Units(count=count, bytes_each=size, work_s=3.0, workers=workers)

    outcome = alone(task, world)

    assert world.finished == count
    assert outcome.seconds >= 3.0 * count / workers - 1e-6


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(1, 80), st.integers(1, 9), st.floats(0.1, 30), st.floats(0, 3_000_000))
def test_more_workers_are_never_slower(
    count: int, workers: int, work_s: float, size: float
) -> None:
    def seconds(number: int) -> float:
        task = Units(count=count, bytes_each=size, work_s=work_s, workers=number)
        return alone(task, new_world(900)).seconds

    assert seconds(workers + 1) <= seconds(workers) + work_s + 1e-6


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(1, 12), st.integers(1, 150), st.floats(0.01, 60), st.integers(1, 6))
def test_the_forecast_of_the_product_is_at_most_one_answer_off(
    requests_max: int, count: int, answer_s: float, in_flight: int
) -> None:
    task = Requests(count=count, answer_s=answer_s, in_flight=in_flight)

    found = duration_s(
        requests=count,
        requests_max=requests_max,
        request_s=answer_s / in_flight,
        answer_s=answer_s,
    )

    seconds = alone(task, new_world(requests_max)).seconds
    assert found == pytest.approx(seconds, abs=answer_s + 0.002 * (1 + count))


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(1, 5), st.lists(st.tuples(st.floats(0, 90), st.floats(0, 100)), max_size=40))
def test_the_budget_is_that_of_the_product(
    requests_max: int, requests: list[tuple[float, float]]
) -> None:
    """Pauses and answers, one request after the other: both let it go at the same moment."""
    clock, loop = VirtualClock(), Loop()
    real, ours = (
        RequestBudget(None, clock=clock, requests_max=requests_max),
        Budget(loop, requests_max),
    )
    for pause_s, answer_s in requests:
        clock.wait(pause_s)
        departure = real.acquire(within_s=120)
        loop.now_s += pause_s
        loop.now_s = ours.free_at_s()
        ours.send()
        assert loop.now_s == pytest.approx(clock.monotonic_s(), abs=0.01 * len(requests))
        clock.wait(answer_s)
        loop.now_s += answer_s
        real.release(departure)
        ours.answered()


def test_a_driver_that_ends_takes_a_listing_back_to_its_start() -> None:
    often = Faults(driver_s=200.0, restart_s=10.0)
    task = Requests(count=500, answer_s=0.3)

    kept_all, nothing = new_world(900, often), new_world(900, often)
    noted = alone(task, kept_all, keeps_every=1)
    over = alone(task, nothing, keeps_every=0)

    assert noted.restarts
    assert noted.repeated <= noted.restarts  # the one in flight
    assert over.repeated > 100
    assert over.seconds > noted.seconds


def test_a_stage_that_starts_over_too_often_is_given_up() -> None:
    stage = Stage(steps=(Step(task=Pause(seconds=10.0)), Step(task=Pause(seconds=1_000.0))))
    world = new_world(900, Faults(driver_s=50.0))

    assert isinf(simulate(stage, world, give_up_s=20_000).seconds)
    assert world.restarts > 100


def test_a_step_that_is_done_each_time_delays_what_is_kept_and_takes_none_of_it() -> None:
    def run(*, each_time: bool) -> Outcome:
        steps = (
            Step(task=Requests(count=20, answer_s=0.3), each_time=each_time, keeps_every=1),
            Step(task=Requests(count=500, answer_s=0.3), keeps_every=1),
        )
        return simulate(
            Stage(steps=steps), new_world(900, Faults(driver_s=50.0, restart_s=1.0), seed=5)
        )

    once, again = run(each_time=False), run(each_time=True)

    assert once.repeated <= once.restarts  # the one in flight
    assert 20 <= again.repeated <= 21 * again.restarts
    assert again.seconds > once.seconds


def test_interruptions_of_more_than_the_limit_start_a_stage_over() -> None:
    def run(restart_s: float) -> World:
        tasks = Requests(count=100, answer_s=1.0), Requests(count=100, answer_s=1.0)
        steps = tuple(Step(task=task, keeps_every=1) for task in tasks)
        world = new_world(900, Faults(driver_s=60.0, restart_s=restart_s), seed=3)
        simulate(Stage(steps=steps, idle_s_max=35.0), world)
        return world

    short, long = run(5.0), run(30.0)

    assert short.repeated <= short.restarts  # those in flight
    assert long.repeated > long.restarts + 50


def test_sealed_parts_are_hashed_again_when_a_driver_starts() -> None:
    units = Units(count=20, bytes_each=0, work_s=10.0, workers=1)
    fault = Faults(driver_s=90.0)

    def seconds(check_s: float) -> float:
        stage = Stage(steps=(Step(task=units, keeps_every=1, check_s=check_s),))
        return simulate(stage, new_world(900, fault)).seconds

    assert seconds(1.0) > seconds(0.0) > 200


def test_failures_lengthen_a_move_and_name_what_held_it() -> None:
    size = Size(1_000_000, 3_072)
    case: Case = CASES["upload"](size)
    rough = replace(ROUGH, failed=0.05, limited=0.01, driver_s=100.0)

    quiet, harmed = case.run(), case.run(rough)

    assert quiet.held_by == "the line"
    assert (quiet.restarts, quiet.repeated) == (0, 0)
    assert harmed.seconds > quiet.seconds
    assert harmed.repeated > 0
    assert snapshot(size, 1).run().held_by == "the workers"
    assert snapshot(size, 16).run().held_by == "the line"


def test_a_loop_without_events_says_so() -> None:
    with pytest.raises(RuntimeError, match="nothing more happens"):
        Loop().run(lambda: False)
