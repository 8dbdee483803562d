"""How the sandbox behaves: every delay, rate and option as a field, and two named profiles."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Times are seconds; `*_rate` is the share of occasions, 0.0 never to 1.0 always.

    `dataclasses.replace(STRICT, commit_delay_s=0.3)` makes a variant. The defaults are `instant`.
    """

    name: str
    seed: int = 0  # of every decision by chance

    # Vector mutations: jobs run one after another, each commits a group at its end.
    commit_delay_s: float = 0.0  # one job, from its start to its commit
    updates_per_job_max: int = 1_000
    vectors_per_job_max: int = 200_000
    count_lag_s: float = 0.0  # vectorCount shows the state of this long ago
    foreign_watermark_rate: float = 0.0  # of mutations, followed by one of another writer
    foreign_watermark_after_s: float = 1.0  # how long ours is shown before that
    stale_read_rate: float = (
        0.0  # of get_by_ids, query, list of metadata indexes; never two running
    )
    stale_age_s: float = 0.0  # age of the state such a read shows
    list_cursor_life_s: float = 3_600.0
    capitalised_index_types: bool = False  # `String` where the schema says `string`

    javascript_numbers: bool = False  # answers spell numbers as JSON.stringify does

    # Workers KV
    kv_visible_after_s: float = 0.0
    kv_miss_cached_s: float = 0.0  # a read that found nothing is repeated for this long
    kv_write_gap_s: float = 0.0  # two writes to one key nearer than this: 429
    kv_partial_rate: float = 0.0  # of bulk writes and deletes that leave some keys out
    kv_empty_page_rate: float = 0.0  # of key pages that are empty and carry a cursor

    # The budget of the token, shared by both products
    requests_per_5min: int = 1_200
    budget_window_s: float = 300.0
    lockout_s: float = 300.0
    retry_after_header: bool = True


INSTANT = Profile(name="instant")

# A tenth of the delays observed on the live service, so that a rehearsal takes minutes.
STRICT = Profile(
    name="strict",
    commit_delay_s=3.0,
    count_lag_s=4.0,
    foreign_watermark_rate=0.3,
    stale_read_rate=0.05,
    stale_age_s=5.0,
    list_cursor_life_s=60.0,
    capitalised_index_types=True,
    kv_visible_after_s=6.0,
    kv_miss_cached_s=6.0,
    kv_write_gap_s=1.0,
    kv_partial_rate=0.1,
    kv_empty_page_rate=0.1,
    retry_after_header=False,
)

PROFILES = {profile.name: profile for profile in (INSTANT, STRICT)}


def with_budget(profile: Profile, requests_per_5min: int | None) -> Profile:
    """The profile with another budget of the token; None keeps its own."""
    if requests_per_5min is None:
        return profile
    return replace(profile, requests_per_5min=requests_per_5min)
