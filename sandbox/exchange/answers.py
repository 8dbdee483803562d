"""Answers: the envelope of the API, pages of the edge, and a connection that is cut."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from sandbox.errors import ServiceError

CUT_EXTENSION = "sandbox.cut"  # the server's way to tear a connection down
JSON = "application/json"
HTML = "text/html; charset=UTF-8"


class Cut(Response):
    """No answer: the connection is torn down. Its status in the log is 0."""

    def __init__(self) -> None:
        super().__init__(status_code=0)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ConnectionResetError where the server has no way to tear a connection down."""
        extension = scope.get("extensions", {}).get(CUT_EXTENSION)
        if extension is None:
            raise ConnectionResetError("the sandbox cut the connection")
        extension["tear_down"]()
        while (await receive())["type"] != "http.disconnect":
            pass


def success(result: Any, **members: Any) -> Response:
    """HTTP 200 with a result; `members` go beside it. Both are what orjson can write."""
    envelope = {"success": True, "errors": [], "messages": [], "result": result, **members}
    return Response(orjson.dumps(envelope, option=orjson.OPT_SERIALIZE_NUMPY), media_type=JSON)


def failure(error: ServiceError) -> Response:
    """A refusal in the envelope."""
    envelope = {
        "success": False,
        "errors": [{"code": error.code, "message": error.message}],
        "messages": [],
        "result": None,
    }
    return page(error.status, orjson.dumps(envelope), JSON, headers=error.headers)


def edge_page(status: int, title: str) -> Response:
    """A page of the edge, in front of the API: HTML, no envelope."""
    text = f"<html><head><title>{status} {title}</title></head><body>{title}</body></html>\n"
    return page(status, text.encode(), HTML)


def page(
    status: int, body: bytes, media_type: str, *, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of any status and type."""
    return Response(body, status_code=status, media_type=media_type, headers=headers)


def timestamp(at: float, timespec: str) -> str:
    """Three spellings of one time, as the service writes them in different places."""
    moment = datetime.fromtimestamp(at, UTC)
    if timespec == "nanoseconds":
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "147+00:00"
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")
