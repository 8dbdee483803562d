"""Paths as sent: Starlette matches them, the free parts are decoded afterwards."""

from collections.abc import Awaitable, Callable
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope
from typing_extensions import override

from sandbox.errors import invalid_kv


class ExactRoute(Route):
    """A route of one method: HEAD is not GET, and another method is no match at all."""

    def __init__(
        self, method: str, path: str, endpoint: Callable[..., Awaitable[Response]]
    ) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.methods = {method}

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the request is for this route, and its free parts."""
        if scope["type"] == "http" and scope["method"] not in (self.methods or ()):
            return Match.NONE, {}
        return super().matches(scope)


def free_parts(request: Request) -> list[str]:
    """The free parts of the path but the account, each percent-decoded exactly once."""
    return [decoded(part) for name, part in request.path_params.items() if name != "account"]


def decoded(part: str) -> str:
    """Percent-decoded. Raises ServiceError for what is not UTF-8 then."""
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise invalid_kv("the path is not valid UTF-8") from error
