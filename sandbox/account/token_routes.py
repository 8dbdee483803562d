"""Routes that verify a token."""

import hashlib
import re

from starlette.responses import Response

from sandbox.errors import invalid_headers, unknown_token, wrong_token_kind
from sandbox.exchange.answers import success
from sandbox.exchange.operation import Call, Operation

USER_PREFIX, ACCOUNT_PREFIX = "cfut_", "cfat_"
_FORM = re.compile(r"Bearer [\w.~+/=-]+", re.ASCII)


def check_authorization(given: str, expected: str) -> None:
    """Raises ServiceError unless the header holds the token; an empty one stands for none.

    The token that this sandbox was started with is good, whatever characters it holds.
    """
    if given == expected:
        return
    if given and not _FORM.fullmatch(given):
        raise invalid_headers()
    raise unknown_token()


def token_routes(api_token: str) -> list[Operation]:
    """User tokens verify at one path, account tokens at the other, unmarked ones at both."""
    result = {"id": hashlib.sha256(api_token.encode()).hexdigest()[:32], "status": "active"}

    def verify_user_token(_: Call) -> Response:
        if api_token.startswith(ACCOUNT_PREFIX):
            raise wrong_token_kind()
        return success(result)

    def verify_account_token(_: Call) -> Response:
        if api_token.startswith(USER_PREFIX):
            raise wrong_token_kind()
        return success(result)

    return [
        Operation("GET", "user/tokens/verify", verify_user_token),
        Operation("GET", "accounts/{account}/tokens/verify", verify_account_token),
    ]
