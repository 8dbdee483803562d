"""Send requests to the sandbox under a shared budget until the kill, on a clock that runs fast.

`python -m tests.migrate.cloudflare.budget.sender URL ACCOUNT TOKEN BUDGET_FILE REQUESTS_MAX SPEED`
"""

import sys
from pathlib import Path

from typing_extensions import override

from migrate.clock import SystemClock
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.api import ApiRequest, Operation
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp


class FastClock(SystemClock):
    """The machine's clocks, so many times as fast."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    @override
    def monotonic_s(self) -> float:
        return super().monotonic_s() * self._speed

    @override
    def wall_s(self) -> float:
        return super().wall_s() * self._speed

    @override
    def wait(self, seconds: float) -> None:
        super().wait(seconds / self._speed)


def main() -> None:
    base_url, account, token, path, requests_max, speed = sys.argv[1:]
    clock = FastClock(float(speed))
    budget = RequestBudget(Path(path), clock=clock, requests_max=int(requests_max))
    http = CloudflareHttp(
        Account(parse_base_url(base_url), account, token),
        budget=budget,
        clock=clock,
        jitter=lambda: 0.5,
    )
    listing = ApiRequest(
        operation=Operation(name="list indexes", scope="Vectorize: Read"),
        method="GET",
        path=http.account_path("vectorize", "v2", "indexes"),
    )
    print("ready", flush=True)  # noqa: T201 - the test waits for it
    while True:
        http.send(listing, lambda _: None)


if __name__ == "__main__":
    main()
