"""The answer envelope: success, errors, messages, result."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from sandbox.errors import ServiceError


def ok(result: object, *, info: Mapping[str, object] | None = None) -> Response:
    """A success; `info` is the `result_info` of a listing."""
    document: dict[str, object] = {
        "success": True,
        "errors": [],
        "messages": [],
        "result": result,
    }
    if info is not None:
        document["result_info"] = info
    return Response(orjson.dumps(document), media_type="application/json")


def refused(error: ServiceError) -> Response:
    """A refusal."""
    document = {
        "success": False,
        "errors": [{"code": error.code, "message": error.message}],
        "messages": [],
        "result": None,
    }
    return Response(
        orjson.dumps(document),
        status_code=error.status,
        media_type="application/json",
        headers=error.headers,
    )
