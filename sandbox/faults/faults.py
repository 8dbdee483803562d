"""The faults that the sandbox can be given, and the counters that make them repeatable.

    lost-answer:every=7,kv-partial:every=3,429:after=50,slow:ms=200

Each fault counts only the requests that it applies to, from 1; `every=7` affects the 7th, 14th, ...
Two depend on the content of the request instead: `refuse-ids:one-in=50` and `413:above=100000`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zlib import crc32

from starlette.responses import Response

from sandbox.errors import (
    ServiceError,
    foreign_address,
    invalid_headers,
    kv_day_used_up,
    too_many_vector_writes,
    unknown_refusal,
    vector_quota_reached,
)
from sandbox.exchange.answers import JSON, Cut, edge_page, failure, page
from sandbox.faults.foreign_answers import page_of_others

VECTOR_WRITES = frozenset({"vector-write"})
VECTOR_READS = frozenset({"vector-read"})
KV_BULK = frozenset({"kv-bulk"})
WRITES = VECTOR_WRITES | KV_BULK | {"kv-write"}
ALL = WRITES | VECTOR_READS | {"kv-read", "other"}  # every kind a route can have
LOCKOUTS = frozenset({"429", "throttled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One thing that can go wrong.

    At most one of the two answers is given: `refuses` in place of taking the request, `replaces`
    in place of the true answer after it was taken. Both receive how often the fault has struck. A
    fault with neither is looked up by name where it acts: in the app (429, throttled, 413, slow)
    or a route (Call.struck).
    """

    does: str
    parameter: str  # every, after, ms, one-in, above
    strikes_on: frozenset[str]  # kinds of request
    refuses: Callable[[int], Response] | None = None
    replaces: Callable[[int, Response], Response] | None = None


def _lost(ordinal: int, _: Response) -> Response:
    return edge_page(504, "Gateway Time-out") if ordinal % 2 else Cut()


# The status of each means success, but the body does not.
_GARBLERS: tuple[Callable[[bytes], bytes], ...] = (
    lambda body: body[: len(body) // 2],
    lambda _: b"",
    lambda _: b"<html><title>Just a moment...</title></html>",
    lambda _: b"null",
    lambda _: b'{"success": "yes", "errors": {}, "result": 17}',
    lambda body: b"\xef\xbb\xbf" + body[:-1],
)


def _garbled(ordinal: int, response: Response) -> Response:
    body = _GARBLERS[ordinal % len(_GARBLERS)](bytes(response.body))
    return page(response.status_code, body, response.media_type or JSON)


def _refusal(does: str, error: Callable[[], ServiceError], on: frozenset[str]) -> FaultKind:
    """A refusal of the service whose reason is not in the request."""
    return FaultKind(
        does=f"{does}, and the request is not taken",
        parameter="every",
        strikes_on=on,
        refuses=lambda _: failure(error()),
    )


FAULTS: Mapping[str, FaultKind] = {
    "lost-answer": FaultKind(
        does="the write is taken; its answer is, in turns, a 504 page or a cut connection",
        parameter="every",
        strikes_on=WRITES,
        replaces=_lost,
    ),
    "garbled": FaultKind(
        does="the request is taken; its answer is, in turns, cut short, empty, a page with status "
        "200, null, JSON of other types, or behind a byte order mark",
        parameter="every",
        strikes_on=WRITES
        | VECTOR_READS
        | {"other"},  # a KV value is any bytes: no client could detect it
        replaces=_garbled,
    ),
    "reset": FaultKind(
        does="the connection is cut and the request not taken",
        parameter="every",
        strikes_on=ALL,
        refuses=lambda _: Cut(),
    ),
    "html-502": FaultKind(
        does="a 502 page, and the request is not taken",
        parameter="every",
        strikes_on=ALL,
        refuses=lambda _: edge_page(502, "Bad Gateway"),
    ),
    "40041": FaultKind(
        does="HTTP 400 with code 40041, and the write is not taken",
        parameter="every",
        strikes_on=VECTOR_WRITES,
        refuses=lambda _: failure(too_many_vector_writes()),
    ),
    "foreign": FaultKind(
        does="in turns, pages of others: an edge's 1010 and 1020, a proxy's 400, 404 and 407, "
        "login pages with status 200 and 401, another server's JSON, 511, 522; the request is not "
        "taken",
        parameter="every",
        strikes_on=ALL,
        refuses=page_of_others,
    ),
    "6003": _refusal(
        "HTTP 400 with code 6003, the token has not the form of one", invalid_headers, ALL
    ),
    "9109": _refusal(
        "HTTP 400 with code 9109, the token may not be used from here", foreign_address, ALL
    ),
    "40026": _refusal(
        "HTTP 400 with code 40026, a quota of the account", vector_quota_reached, VECTOR_WRITES
    ),
    "49999": _refusal(
        "HTTP 400 with a code that is documented nowhere", unknown_refusal, VECTOR_WRITES
    ),
    "10048": _refusal(
        "HTTP 429 with code 10048, the daily limit of KV", kv_day_used_up, KV_BULK | {"kv-write"}
    ),
    "429": FaultKind(
        does="after this number of requests the budget's lockout begins, once",
        parameter="after",
        strikes_on=ALL,
    ),
    "throttled": FaultKind(
        does="the budget's lockout begins, again and again",
        parameter="every",
        strikes_on=ALL,
    ),
    "stale": FaultKind(
        does="get_by_ids, query and the list of metadata indexes show the state before the "
        "last commit",
        parameter="every",
        strikes_on=VECTOR_READS,
    ),
    "kv-partial": FaultKind(
        does="every third key of the bulk request is left out and named in unsuccessful_keys",
        parameter="every",
        strikes_on=KV_BULK,
    ),
    "refuse-ids": FaultKind(
        does="an upload is refused (HTTP 400, code 40023) while it holds an id whose CRC-32 the "
        "number divides: always the same ids",
        parameter="one-in",
        strikes_on=VECTOR_WRITES,
    ),
    "413": FaultKind(
        does="a body of more bytes is refused by the edge (HTTP 413)",
        parameter="above",
        strikes_on=ALL,
    ),
    "slow": FaultKind(
        does="every request waits this long before it is read",
        parameter="ms",
        strikes_on=ALL,
    ),
}


class Faults:
    """The active faults, with a count of the requests that each applied to."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._numbers = dict(numbers)
        self._asked = dict.fromkeys(numbers, 0)
        self.struck: Counter[str] = Counter()  # by name, for statistics

    def delay(self) -> float:
        """How many seconds this request waits; counts it."""
        if "slow" not in self._numbers:
            return 0.0
        self.struck["slow"] += 1
        return self._numbers["slow"] / 1000

    @property
    def body_bytes_max(self) -> int | None:
        """The size beyond which a body is refused; None: as large as the service says."""
        return self._numbers.get("413")

    def refuses_id(self, vector_id: str) -> bool:
        """Whether an upload with this id is refused."""
        number = self._numbers.get("refuse-ids")
        return number is not None and crc32(vector_id.encode()) % number == 0

    def strike(self, request_kind: str) -> frozenset[str]:
        """The names of the faults that this request suffers; counts it."""
        struck = frozenset([name for name in self._numbers if self._strikes(name, request_kind)])
        self.struck.update(struck)
        return struck

    def _strikes(self, name: str, request_kind: str) -> bool:
        fault, number = FAULTS[name], self._numbers[name]
        counted = fault.parameter in {"every", "after"}
        if request_kind not in fault.strikes_on or not counted:
            return False
        self._asked[name] += 1
        if fault.parameter == "after":
            return self._asked[name] == number + 1
        return self._asked[name] % number == 0

    def refusal(self, struck: frozenset[str]) -> Response | None:
        """The answer given in place of taking the request."""
        for name in sorted(struck):
            refuses = FAULTS[name].refuses
            if refuses is not None:
                return refuses(self._ordinal(name))
        return None

    def replacement(self, struck: frozenset[str], response: Response) -> Response:
        """The answer to send: that of a fault, or `response` itself."""
        for name in sorted(struck):
            replaces = FAULTS[name].replaces
            if replaces is not None:
                return replaces(self._ordinal(name), response)
        return response

    def _ordinal(self, name: str) -> int:
        return self._asked[name] // self._numbers[name]


def parse_faults(spec: str | None) -> Faults:
    """Read a comma-separated list. Raises ValueError naming the known faults."""
    numbers: dict[str, int] = {}
    for part in (spec or "").split(",") if spec else []:
        name, _, setting = part.strip().partition(":")
        parameter, _, number = setting.partition("=")
        fault = FAULTS.get(name)
        if fault is None or parameter != fault.parameter or name in numbers:
            raise ValueError(f"unknown or repeated fault {part!r}; known: {known_faults()}")
        if not (number.isascii() and number.isdigit() and int(number) > 0):
            raise ValueError(f"fault {part!r} needs a whole number above 0 after '{parameter}='")
        numbers[name] = int(number)
    return Faults(numbers)


def known_faults() -> str:
    """The spelling of each fault in an order list, as text."""
    return ", ".join(f"{name}:{fault.parameter}=N" for name, fault in FAULTS.items())
