"""How the stand-in behaves: at once, or as the service was seen to behave."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Delays in seconds, rates as "every n-th" (0 = never)."""

    name: str
    commit_interval_s: float  # jobs commit what is due together, at multiples of this
    commit_delay_s: float  # from acceptance until the commit is due
    count_lag_s: float  # `vectorCount` shows what was committed this long ago
    foreign_watermark_after_s: float | None  # then the watermark shows somebody else's mutation
    stale_read_every: int  # every n-th read of vectors shows an older state ...
    stale_age_s: float  # ... of this age
    cursor_life_s: float  # of a listing walk
    metadata_index_delay_s: float  # until a metadata index is listed by every read
    kv_visible_s: float  # from a KV write until every read shows it
    kv_miss_cached_s: float  # a miss is remembered this long
    kv_partial_every: int  # every n-th bulk write leaves some keys out and says so
    kv_empty_page_every: int  # every n-th page of keys is empty and has a cursor
    requests_per_window: int
    window_s: float
    block_s: float  # after the budget is exceeded
    retry_after: bool  # whether the 429 says how long


INSTANT = Profile(
    name="instant",
    commit_interval_s=0.0,
    commit_delay_s=0.0,
    count_lag_s=0.0,
    foreign_watermark_after_s=None,
    stale_read_every=0,
    stale_age_s=0.0,
    cursor_life_s=600.0,
    metadata_index_delay_s=0.0,
    kv_visible_s=0.0,
    kv_miss_cached_s=0.0,
    kv_partial_every=0,
    kv_empty_page_every=0,
    requests_per_window=1_200,
    window_s=300.0,
    block_s=300.0,
    retry_after=True,
)

# Delays are a tenth of those observed on the live service (commits 10 to 80 s, KV 60 s and more),
# so that a rehearsal takes minutes; limits and the request budget are the real ones.
STRICT = Profile(
    name="strict",
    commit_interval_s=2.0,
    commit_delay_s=1.0,
    count_lag_s=5.0,
    foreign_watermark_after_s=3.0,
    stale_read_every=17,
    stale_age_s=3.0,
    cursor_life_s=60.0,
    metadata_index_delay_s=3.0,
    kv_visible_s=6.0,
    kv_miss_cached_s=6.0,
    kv_partial_every=5,
    kv_empty_page_every=4,
    requests_per_window=1_200,
    window_s=300.0,
    block_s=300.0,
    retry_after=False,
)

PROFILES = {profile.name: profile for profile in (INSTANT, STRICT)}
