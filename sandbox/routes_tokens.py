"""Routes that tell whether a token is good."""

import hashlib

from sandbox.errors import wrong_token_kind
from sandbox.messages import Request, Response, success
from sandbox.routing import Route

USER_PREFIX, ACCOUNT_PREFIX = "cfut_", "cfat_"


def token_routes(api_token: str) -> list[Route]:
    """User tokens verify at one path, account tokens at the other, unmarked ones at both."""
    result = {"id": hashlib.sha256(api_token.encode()).hexdigest()[:32], "status": "active"}

    def verify_user_token(_: Request) -> Response:
        if api_token.startswith(ACCOUNT_PREFIX):
            raise wrong_token_kind()
        return success(result)

    def verify_account_token(_: Request) -> Response:
        if api_token.startswith(USER_PREFIX):
            raise wrong_token_kind()
        return success(result)

    return [
        Route("GET", "user/tokens/verify", verify_user_token),
        Route("GET", "accounts/{account}/tokens/verify", verify_account_token),
    ]
