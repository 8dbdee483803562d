"""Bad days: named combinations of faults, delays and other settings, for rehearsals."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sandbox.profile import Profile

# The profile's fields that a day's `delays` stretches.
_DELAYS = (
    "commit_delay_s",
    "count_lag_s",
    "foreign_watermark_after_s",
    "stale_age_s",
    "kv_visible_after_s",
    "kv_miss_cached_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadDay:
    """The faults of a bad day, as an order list of `faults.FAULTS`, and its profile."""

    does: str
    faults: str  # an order list
    delays: float = 1.0  # factor on every delay of the profile
    manners: Mapping[str, float | bool] = field(default_factory=dict)  # other fields of the profile


BAD_DAYS: Mapping[str, BadDay] = {
    "flaky": BadDay(
        does="answers get lost after the write was taken, or arrive garbled; connections break; "
        "the edge answers in the service's place; bulk writes succeed in part",
        faults="lost-answer:every=3,garbled:every=23,reset:every=31,html-502:every=37,"
        "foreign:every=29,40041:every=5,kv-partial:every=2",
    ),
    "ratelimited": BadDay(
        does="another program uses the account: every 40 requests a lockout of some seconds, "
        "announced by Retry-After",
        faults="throttled:every=40",
        manners={"lockout_s": 3.0, "retry_after_header": True, "kv_write_gap_s": 1.0},
    ),
    "slow": BadDay(
        does="every answer waits, writes are processed and shown late",
        faults="slow:ms=50",
        delays=6.0,
    ),
    "crashy": BadDay(
        does="connections die in the middle; a rehearsal also has its own processes killed",
        faults="reset:every=25,lost-answer:every=3",
    ),
    "stale": BadDay(
        does="reads show former states, remembered absences and watermarks of other writers",
        faults="kv-partial:every=3",
        delays=4.0,
        manners={
            "stale_read_rate": 0.4,
            "foreign_watermark_rate": 1.0,
            "kv_empty_page_rate": 0.5,
        },
    ),
}


def profile_on(day: BadDay, profile: Profile) -> Profile:
    """The profile with the delays and settings of the bad day."""
    stretched = {name: getattr(profile, name) * day.delays for name in _DELAYS}
    return replace(profile, **stretched, **day.manners)  # type: ignore[arg-type]  # by name


def expect_bad_days(spec: str | None, profile: Profile) -> tuple[str | None, Profile]:
    """The order list with names of bad days replaced by their faults, and the changed profile."""
    orders: list[str] = []
    for part in (spec or "").split(",") if spec else []:
        day = BAD_DAYS.get(part.strip())
        orders.append(part if day is None else day.faults)
        profile = profile if day is None else profile_on(day, profile)
    return ",".join(orders) or spec, profile
