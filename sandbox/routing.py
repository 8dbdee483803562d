"""Which function answers which path."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sandbox.errors import no_route
from sandbox.limits import JSON_BYTES_MAX
from sandbox.messages import Request
from sandbox.steps import Answer


@dataclass(frozen=True, slots=True)
class Route:
    """One operation; the braced parts of its path are free, and given to `answer` in order.

    `{account}` is checked by the app and not given.
    """

    method: str
    path: str  # below /client/v4/
    answer: Callable[..., Answer]
    kind: str = "other"  # what faults choose by; see faults.py
    body_bytes_max: int = JSON_BYTES_MAX

    def match(self, method: str, segments: Sequence[str]) -> list[str] | None:
        """The free parts, None if the request is not for this route."""
        parts = self.path.split("/")
        if method != self.method or len(parts) != len(segments):
            return None
        free: list[str] = []
        for part, segment in zip(parts, segments, strict=True):
            if part == "{account}":
                continue
            if part.startswith("{"):
                free.append(segment)
            elif part != segment:
                return None
        return free


def find_route(routes: Sequence[Route], request: Request) -> tuple[Route, list[str]]:
    """The route of a request. Raises ServiceError without one."""
    prefix, segments = request.segments[:2], request.segments[2:]
    if prefix == ("client", "v4"):
        for route in routes:
            free = route.match(request.method, segments)
            if free is not None:
                return route, free
    raise no_route()
