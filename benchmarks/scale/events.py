"""A discrete-event simulation: a clock, the request budget, a line, and work that goes wrong.

Time passes only between events. Everything is drawn from one seeded generator, so that a simulation
can be repeated.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import inf
from random import Random

from migrate.cloudflare.budget.forecast import ROUNDING_S
from migrate.model.limits import REQUEST_WINDOW_S

DEADLINE_S = 120.0  # of a request without a body: until then one of a driver that ended counts


class Loop:
    """Events in the order of their time; those of one moment in the order they were asked for."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, when_s: float, what: Callable[[], None]) -> None:
        """Call `what` at that time, not before now."""
        heapq.heappush(self._events, (max(when_s, self.now_s), next(self._numbers), what))

    def run(self, is_done: Callable[[], bool]) -> None:
        """Until it is done. Raises RuntimeError when nothing more happens and it is not."""
        while not is_done():
            if not self._events:
                raise RuntimeError("nothing more happens, and the work is not done")
            self.now_s, _, what = heapq.heappop(self._events)
            what()

    def forget(self) -> None:
        """Drop everything that was to come."""
        self._events.clear()


class Budget:
    """The limiter's rule: a request counts from its start until a window after its answer."""

    def __init__(self, loop: Loop, requests_max: int) -> None:
        self.sent_s: list[float] | None = None  # when each was sent, where a list is put here
        self._loop = loop
        self.requests_max = requests_max
        self._in_flight = 0
        self._answered: deque[float] = deque()  # when each was answered, in that order
        self._lost: list[tuple[float, int]] = []  # of ended drivers: until when, how many
        self._blocked_until_s = 0.0

    def free_at_s(self) -> float:
        """When the next request may be sent: now, later, or `inf`: when one is answered."""
        now_s = self._loop.now_s
        while self._answered and self._end_s(self._answered[0]) <= now_s:
            self._answered.popleft()
        self._lost = [one for one in self._lost if one[0] > now_s]
        if self._blocked_until_s > now_s:
            return self._blocked_until_s
        lost = sum(number for _, number in self._lost)
        if self._in_flight + len(self._answered) + lost < self.requests_max:
            return now_s
        ends_s = [until_s for until_s, _ in self._lost]
        if self._answered:
            ends_s.append(self._end_s(self._answered[0]))
        return min(ends_s, default=inf)

    @staticmethod
    def _end_s(answered_s: float) -> float:
        return answered_s + REQUEST_WINDOW_S + ROUNDING_S

    def send(self) -> None:
        """Count a request."""
        self._in_flight += 1
        if self.sent_s is not None:
            self.sent_s.append(self._loop.now_s)

    def answered(self) -> None:
        """One of them is answered now."""
        self._in_flight -= 1
        self._answered.append(self._loop.now_s)

    def block(self, seconds: float) -> None:
        """Send nothing for that long: a 429 with Retry-After."""
        self._blocked_until_s = max(self._blocked_until_s, self._loop.now_s + seconds)

    def lose(self) -> None:
        """The driver ended: what is in flight counts as sent at its deadline."""
        if self._in_flight:
            self._lost.append((self._end_s(self._loop.now_s + DEADLINE_S), self._in_flight))
        self._in_flight = 0


class Line:
    """Bytes go through it one body after the other."""

    def __init__(self, loop: Loop, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s
        self._loop = loop
        self._free_s = 0.0

    def through_s(self, size: float) -> float:
        """When a body that is given to it now has gone through."""
        self._free_s = max(self._free_s, self._loop.now_s) + size / self.bytes_per_s
        return self._free_s

    def clear(self) -> None:
        """Drop what has not gone through."""
        self._free_s = self._loop.now_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong. Times are means of exponential distributions, in seconds."""

    failed: float = 0.0  # share of the requests that are sent again
    limited: float = 0.0  # share of the requests that are answered 429
    retry_after_s: float = 0.0
    driver_s: float = inf  # between two ends of the driver
    restart_s: float = 0.0
    worker_s: float = inf  # between two deaths of a worker
    respawn_s: float = 0.0


QUIET = Faults()


@dataclass(slots=True)
class World:
    """What the pieces of one piece of work share."""

    loop: Loop
    budget: Budget
    line: Line
    random: Random
    faults: Faults = QUIET
    restarts: int = 0
    repeated: int = 0  # requests or units that were done again
    finished: int = 0  # those that are done and were not lost
    busy_s: dict[str, float] = field(default_factory=dict)  # by what was busy

    def busy(self, what: str, seconds: float) -> None:
        """Note how long a task takes up all of something."""
        self.busy_s[what] = self.busy_s.get(what, 0.0) + seconds

    @property
    def held_by(self) -> str:
        """What was busy longest. The first budget is there at the start: nothing waits for it."""
        busy_s = dict(self.busy_s)
        if "the budget" in busy_s:
            busy_s["the budget"] -= REQUEST_WINDOW_S
        return max(busy_s, key=busy_s.__getitem__, default="nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests of one kind, through lanes that each wait for their answer.

    With `group` above 1 each event stands for that many requests of one lane, one after the other,
    and the budget of the world is that of as many groups. The place of a request in the budget is
    free a window after its own answer; so is the group's, counted from the first of them.
    """

    count: int  # groups
    bytes_each: float = 0.0  # of one request over the line, in the body or in the answer
    answer_s: float
    in_flight: int = 1
    group: int = 1

    def lanes(self, work: "Work") -> list[Callable[[], None]]:
        """What each lane does first."""
        return [lambda: self._send(work)] * self.in_flight

    def _send(self, work: "Work") -> None:
        world = work.world
        loop, budget = world.loop, world.budget
        if not work.left:
            return
        free_s = budget.free_at_s()
        if free_s == inf:  # woken by the next answer
            work.sleeping.append(lambda: self._send(work))
            return
        if free_s > loop.now_s:
            loop.at(free_s, lambda: self._send(work))
            return
        work.take()
        budget.send()
        line_s = self.bytes_each / world.line.bytes_per_s
        through_s = world.line.through_s(self.bytes_each * self.group)
        first_s = through_s - (self.group - 1) * line_s + self.answer_s
        last_s = max(first_s + (self.group - 1) * (line_s + self.answer_s), through_s)
        world.busy("the line", line_s * self.group)
        world.busy("the answers", self.answer_s * self.group / self.in_flight)
        world.busy("the budget", (REQUEST_WINDOW_S + self.answer_s) / budget.requests_max)
        loop.at(first_s, lambda: self._free(work))
        loop.at(last_s, lambda: self._end(work))

    @staticmethod
    def _free(work: "Work") -> None:
        world = work.world
        world.budget.answered()
        sleeping, work.sleeping = work.sleeping, []
        for wake in sleeping:
            wake()

    def _end(self, work: "Work") -> None:
        world, faults = work.world, work.world.faults
        drawn = world.random.random()
        if drawn < faults.limited * self.group:
            world.budget.block(faults.retry_after_s)
        if drawn < faults.limited + faults.failed:
            world.repeated += self.group
            work.give_back()
        else:
            work.finish()
        self._send(work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Units of reading, by workers that die and are replaced; a unit in flight is done again."""

    count: int
    bytes_each: float  # over the line, while the worker works
    work_s: float  # of one worker
    workers: int

    def lanes(self, work: "Work") -> list[Callable[[], None]]:
        """What each worker does first."""
        return [lambda: self._begin(work)] * self.workers

    def _begin(self, work: "Work") -> None:
        world = work.world
        loop, faults = world.loop, world.faults
        if not work.take():
            work.sleeping.append(lambda: self._begin(work))
            return
        through_s = world.line.through_s(self.bytes_each)
        done_s = max(through_s, loop.now_s + self.work_s)
        world.busy("the line", self.bytes_each / world.line.bytes_per_s)
        world.busy("the workers", self.work_s / self.workers)
        dies_s = loop.now_s + (
            inf if faults.worker_s == inf else world.random.expovariate(1 / faults.worker_s)
        )
        if dies_s < done_s:
            loop.at(dies_s, lambda: self._die(work))
        else:
            loop.at(done_s, lambda: self._end(work))

    def _die(self, work: "Work") -> None:
        world = work.world
        world.repeated += 1
        work.give_back()
        world.loop.at(world.loop.now_s + world.faults.respawn_s, lambda: self._begin(work))
        self._wake(work)

    def _end(self, work: "Work") -> None:
        work.finish()
        self._begin(work)

    def _wake(self, work: "Work") -> None:
        sleeping, work.sleeping = work.sleeping, []
        for wake in sleeping:
            wake()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Something that takes its time and is not divided."""

    seconds: float
    count: int = 1

    def lanes(self, work: "Work") -> list[Callable[[], None]]:
        """It begins."""
        return [lambda: self._begin(work)]

    def _begin(self, work: "Work") -> None:
        if work.take():
            work.world.busy("the wait", self.seconds)
            work.world.loop.at(work.world.loop.now_s + self.seconds, work.finish)


Task = Requests | Units | Pause


@dataclass(slots=True)
class Work:
    """One task on its way, and how much of it an ended driver loses."""

    task: Task
    world: World
    left: int
    in_flight: int = 0
    done: int = 0
    sleeping: list[Callable[[], None]] = field(default_factory=list)

    def take(self) -> bool:
        """Whether there was one to take."""
        if not self.left:
            return False
        self.left -= 1
        self.in_flight += 1
        return True

    def give_back(self) -> None:
        """It has to be done again."""
        self.left += 1
        self.in_flight -= 1

    def finish(self) -> None:
        """It is done."""
        self.in_flight -= 1
        self.done += 1
        self.world.finished += 1

    def start(self) -> None:
        """Every lane begins."""
        self.sleeping = []
        for begin in self.task.lanes(self):
            begin()

    def lose(self, keeps: int) -> None:
        """The driver ended: of what is done, `keeps` are kept, and nothing in flight."""
        self.world.repeated += self.in_flight + self.done - keeps
        self.world.finished -= self.done - keeps
        self.in_flight, self.done = 0, keeps
        self.left = self.task.count - keeps

    @property
    def is_done(self) -> bool:
        """Whether all of it is done."""
        return self.done == self.task.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A task of a stage, and what the end of the driver costs it."""

    task: Task
    keeps_every: int = 0  # done tasks are noted in groups of this many; 0: it starts over
    check_s: float = 0.0  # for each that is done, when the driver starts again
    each_time: bool = False  # all of it is done again whenever the driver starts again


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Steps one after the other, as a command does them."""

    steps: tuple[Step, ...]
    idle_s_max: float = inf  # interruptions of more than this in all: it starts over


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation has shown."""

    seconds: float  # `inf`: it was given up
    restarts: int
    repeated: int
    held_by: str


def simulate(stage: Stage, world: World, *, give_up_s: float = inf) -> Outcome:
    """Carry out the stage, from an unused budget to the last answer."""
    works = _new_works(stage, world)
    faults, idle_s = world.faults, 0.0
    ends_s = _next_end_s(world)
    at = 0
    works[0].start()
    while True:
        work = works[at]
        _run_until(world.loop, work, ends_s)
        if work.is_done:
            world.loop.forget()
            at += 1
            if at == len(works):
                return Outcome(world.loop.now_s, world.restarts, world.repeated, world.held_by)
            works[at].start()
            continue
        if world.loop.now_s > give_up_s:
            return Outcome(inf, world.restarts, world.repeated, world.held_by)
        world.restarts += 1
        world.loop.forget()
        world.budget.lose()
        idle_s += faults.restart_s
        if idle_s > stage.idle_s_max:
            idle_s, at = 0.0, 0
            for one in works:
                one.lose(0)
        else:
            every = stage.steps[at].keeps_every
            work.lose(work.done // every * every if every else 0)
            for before in [one for one in range(at) if stage.steps[one].each_time]:
                works[before].lose(0)
                at = min(at, before)
        checked_s = sum(
            one.done * step.check_s for one, step in zip(works, stage.steps, strict=True)
        )
        world.loop.now_s += faults.restart_s + checked_s
        world.line.clear()
        ends_s = _next_end_s(world)
        works[at].start()


def _new_works(stage: Stage, world: World) -> list[Work]:
    return [Work(step.task, world, step.task.count) for step in stage.steps]


def _next_end_s(world: World) -> float:
    if world.faults.driver_s == inf:
        return inf
    return world.loop.now_s + world.random.expovariate(1 / world.faults.driver_s)


def _run_until(loop: Loop, work: Work, ends_s: float) -> None:
    """Until the work is done or the driver ends; then the clock is at that end."""
    has_ended = False

    def end() -> None:
        nonlocal has_ended
        has_ended = True

    if ends_s < inf:
        loop.at(ends_s, end)
    loop.run(lambda: work.is_done or has_ended)
