"""Fault scenarios: named combinations of faults, delays and other settings, for rehearsals."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.profile import Profile

# The profile's fields that `delays` stretches.
_DELAYS = (
    "commit_delay_s",
    "count_lag_s",
    "foreign_watermark_after_s",
    "stale_age_s",
    "kv_visible_after_s",
    "kv_miss_cached_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultScenario:
    """Faults that come together, an order list of `faults.FAULTS`, and changes of the profile."""

    does: str
    faults: str  # an order list
    delays: float = 1.0  # factor on every delay of the profile
    settings: Mapping[str, float | bool] = field(default_factory=dict)  # of the profile, by name


FAULT_SCENARIOS: Mapping[str, FaultScenario] = {
    "flaky": FaultScenario(
        does="answers get lost after the write was taken, or arrive garbled; connections break; "
        "the edge answers in the service's place; bulk writes succeed in part",
        faults="lost-answer:every=3,garbled:every=23,reset:every=31,html-502:every=37,"
        "foreign:every=29,40041:every=5,kv-partial:every=2",
    ),
    "ratelimited": FaultScenario(
        does="another program uses the account: every 40 requests a lockout of some seconds, "
        "announced by Retry-After",
        faults="throttled:every=40",
        settings={"lockout_s": 3.0, "retry_after_header": True, "kv_write_gap_s": 1.0},
    ),
    "slow": FaultScenario(
        does="every answer waits, writes are processed and shown late",
        faults="slow:ms=50",
        delays=6.0,
    ),
    "crashy": FaultScenario(
        does="connections die in the middle; a rehearsal also has its own processes killed",
        faults="reset:every=25,lost-answer:every=3",
    ),
    "stale": FaultScenario(
        does="reads show former states, remembered absences and watermarks of other writers",
        faults="kv-partial:every=3",
        delays=4.0,
        settings={
            "stale_read_rate": 0.4,
            "foreign_watermark_rate": 1.0,
            "kv_empty_page_rate": 0.5,
        },
    ),
}


def profile_of(scenario: FaultScenario, profile: Profile) -> Profile:
    """The profile with the delays and settings of the scenario."""
    stretched: dict[str, Any] = {name: getattr(profile, name) * scenario.delays for name in _DELAYS}
    return replace(profile, **stretched, **dict[str, Any](scenario.settings))


def expand_scenarios(spec: str | None, profile: Profile) -> tuple[str | None, Profile]:
    """The order list with names of scenarios replaced by their faults, and the changed profile."""
    orders: list[str] = []
    for part in (spec or "").split(",") if spec else []:
        scenario = FAULT_SCENARIOS.get(part.strip())
        orders.append(part if scenario is None else scenario.faults)
        profile = profile if scenario is None else profile_of(scenario, profile)
    return ",".join(orders) or spec, profile
