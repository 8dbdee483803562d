"""Routes for the user of a token, and the accounts that the token may use."""

from typing import Any

from starlette.responses import Response

from sandbox.account.script_routes import EMAIL
from sandbox.account.token_routes import ACCOUNT_PREFIX
from sandbox.errors import no_user
from sandbox.exchange.answers import success
from sandbox.exchange.operation import Call, Operation

NAME = "sandbox"
_PER_PAGE_DEFAULT, _PER_PAGE_MAX, _PAGE_MAX = 20, 50, 1_000_000


class AccountRoutes:
    """One method per operation. A token of an account belongs to no user."""

    def __init__(self, account_id: str, api_token: str) -> None:
        self._account = {"id": account_id, "name": NAME, "type": "standard"}
        self._of_a_user = not api_token.startswith(ACCOUNT_PREFIX)

    def routes(self) -> list[Operation]:
        """All of them."""
        return [
            Operation("GET", "accounts", self.list_accounts),
            Operation("GET", "accounts/{account}", self.get_account),
            Operation("GET", "memberships", self.list_memberships),
            Operation("GET", "user", self.get_user),
        ]

    def list_accounts(self, call: Call) -> Response:
        """The one account."""
        return _page(call, [self._account])

    def get_account(self, _: Call) -> Response:
        """The one account; another is refused before."""
        return success(self._account)

    def list_memberships(self, call: Call) -> Response:
        """That of the user in the account."""
        self._check_user()
        membership = {"id": self._account["id"][::-1], "status": "accepted", "roles": []}
        return _page(call, [{**membership, "account": self._account}])

    def get_user(self, _: Call) -> Response:
        """Who the token belongs to."""
        self._check_user()
        return success({"id": self._account["id"][::-1], "email": EMAIL})

    def _check_user(self) -> None:
        if not self._of_a_user:
            raise no_user()


def _page(call: Call, records: list[Any]) -> Response:
    page = call.number("page", 1, least=1, most=_PAGE_MAX)
    per_page = call.number("per_page", _PER_PAGE_DEFAULT, least=1, most=_PER_PAGE_MAX)
    shown = records[(page - 1) * per_page : page * per_page]
    return success(
        shown,
        result_info={
            "page": page,
            "per_page": per_page,
            "count": len(shown),
            "total_count": len(records),
            "total_pages": 1,
        },
    )
