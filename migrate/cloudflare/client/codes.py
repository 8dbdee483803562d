"""The error codes of the Cloudflare API that q2v knows: what each concerns and what to do about it.

The client, the upload and the messages use this one table. A code takes precedence over the HTTP
status, because the service also sends refusals of a token, a quota or an index with status 400.
"Observed" as a source means reported by third parties against the live service (decision 0020).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from migrate.errors import RefusedPart, TargetRefusedError


class Subject(StrEnum):
    """What a refusal with a code is about."""

    ACCESS = "access"  # the token, or the address it is used from: exit 6
    QUOTA = "quota"  # a daily or an account limit: exit 8 at once
    BUDGET = "budget"  # the account's requests in five minutes: wait, then retry
    WRITE_RATE = "write rate"  # writes follow each other too fast: retry later
    CONTENT = "content"  # one line of an upload, which is halved until that vector is alone
    REQUEST = "request"  # the whole request, or an object that it names


@dataclass(frozen=True, slots=True)
class KnownCode:
    """One code of the table."""

    code: int
    subject: Subject
    meaning: str
    source: str
    remedy: str = ""  # the operator's next step; "" where its subject has a general one


_TABLE = (
    KnownCode(971, Subject.BUDGET, "too many requests for the account", "observed 2026"),
    KnownCode(10429, Subject.BUDGET, "too many requests for the account", "observed 2026"),
    KnownCode(
        1005,
        Subject.REQUEST,
        "the content type of an upload is not known",
        "observed",
        "check the proxies between this machine and the service: one changed the content type",
    ),
    KnownCode(
        1010,
        Subject.REQUEST,
        "the index belongs to another version of the API",
        "observed",
        "create another index with `q2v provision`: this one is of the first API version",
    ),
    KnownCode(
        3000,
        Subject.REQUEST,
        "the index does not exist",
        "observed 2026",
        "check target.vector_index, or run `q2v provision`; migrate never creates an index",
    ),
    KnownCode(
        3002,
        Subject.REQUEST,
        "an index of this name exists",
        "observed 2026",
        "choose another target.vector_index, or use the existing one",
    ),
    KnownCode(
        3005,
        Subject.REQUEST,
        "the index was deleted",
        "observed 2026",
        "check target.vector_index, or run `q2v provision`; migrate never creates an index",
    ),
    KnownCode(
        6003,
        Subject.ACCESS,
        "the request headers are not valid: the token has not the form of one",
        "observed 2016 to 2025, HTTP 400, with 6103 or 6111 in its error chain",
        "copy the API token again: CLOUDFLARE_API_TOKEN does not have the form of a token",
    ),
    KnownCode(
        7003,
        Subject.REQUEST,
        "no such route, or the account id is malformed",
        "schema example; observed",
        "check CLOUDFLARE_ACCOUNT_ID and target.api_base_url",
    ),
    KnownCode(9106, Subject.ACCESS, "authentication failed", "wrangler 4.125.0"),
    KnownCode(
        9109,
        Subject.ACCESS,
        "the token may not be used from this address, or not for this resource",
        "observed, HTTP 400 and 403",
        "allow the address of this machine in the token's client IP address filter, or use "
        "another token: this one may not be used from here",
    ),
    KnownCode(10000, Subject.ACCESS, "authentication failed", "observed"),
    KnownCode(10009, Subject.REQUEST, "the KV key does not exist", "observed"),
    KnownCode(
        10013,
        Subject.REQUEST,
        "the KV namespace does not exist",
        "observed",
        "check target.kv_namespace_id, or run `q2v provision`",
    ),
    KnownCode(
        10014,
        Subject.REQUEST,
        "a KV namespace of this title exists",
        "observed",
        "choose another namespace title, or use the existing one",
    ),
    KnownCode(
        10048,
        Subject.QUOTA,
        "the daily limit of Workers KV is used up",
        "observed 2026",
        "wait until 00:00 UTC or change the account's plan, then run the same command again: it "
        "resumes",
    ),
    KnownCode(40006, Subject.REQUEST, "a query vector of another width", "observed"),
    KnownCode(40007, Subject.REQUEST, "too many ids in one request", "observed 2026"),
    KnownCode(40008, Subject.CONTENT, "a vector id is too long", "observed"),
    KnownCode(40009, Subject.CONTENT, "a vector's namespace is too long", "observed"),
    KnownCode(
        40012,
        Subject.CONTENT,
        "a vector's values have another width than the index",
        "observed",
        "plan again: the index has other dimensions than the upload",
    ),
    KnownCode(
        40016,
        Subject.CONTENT,
        "a vector's metadata is too large",
        "observed 2026",
        "shorten the metadata in the mapping, then plan again",
    ),
    KnownCode(40018, Subject.CONTENT, "a metadata key is not valid", "observed"),
    KnownCode(40023, Subject.CONTENT, "a line of the upload is not readable", "observed 2026"),
    KnownCode(40025, Subject.REQUEST, "topK of a query is too large", "observed 2026"),
    KnownCode(
        40026,
        Subject.QUOTA,
        "a quota of the account; on a query: returnMetadata is not valid",
        "observed 2026",
        "free some of the account's quota or change its plan, then run the same command again: it "
        "resumes",
    ),
    KnownCode(40041, Subject.WRITE_RATE, "writes to the index are too fast", "observed 2026"),
)
CODES = {known.code: known for known in _TABLE}
# Fault matrix N16: only these three statuses can be about a line of the body.
CONTENT_STATUSES = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
# Codes that come with status 400 too, although they are about the whole request.
OTHER_CODES = frozenset(
    known.code for known in CODES.values() if known.subject is not Subject.CONTENT
)

NO_INDEX_CODES = frozenset({3000, 3005})
DUPLICATE_INDEX_CODE = 3002
TOO_MANY_IDS_CODE = 40007
NO_KV_NAMESPACE_CODE = 10013
DUPLICATE_NAMESPACE_CODE = 10014

# The words of a limit that does not end after five minutes.
_QUOTA_WORDS = re.compile(
    r"\b(?:quota|daily|per day|for (?:the|this) day|today|monthly|per month|upgrade"
    r"|free (?:usage|tier|plan))\b",
    re.IGNORECASE,
)
_QUERY_OPTION = "returnMetadata"  # 40026 on a query names the option that is not valid


def subject_of(code: int, message: str = "") -> Subject | None:
    """What a refusal is about; None for a code that is not in the table.

    `message` is the service's sentence. It distinguishes the two meanings of 40026.
    """
    known = CODES.get(code)
    if known is None:
        return None
    if known.subject is Subject.QUOTA and _QUERY_OPTION in message:
        return Subject.REQUEST
    return known.subject


def refused_part(status: int, code: int | None) -> RefusedPart:
    """What a refusal of an upload is about; `code` is the service's, or None.

    An answer with an unknown code or with none, such as the 413 of a proxy, may be about the whole
    request. A vector is then refused only on evidence (`run/refusal_evidence.py`).
    """
    if status not in CONTENT_STATUSES or code in OTHER_CODES:
        return RefusedPart.WHOLE
    return RefusedPart.LINE if code in CODES else RefusedPart.CONTENT


def names_quota(message: str) -> bool:
    """Whether a sentence names a daily, monthly or account quota."""
    return _QUOTA_WORDS.search(message) is not None


def remedy_of(code: int | None) -> str:
    """The operator's next step for a code; "" where the table has none."""
    known = CODES.get(code) if code is not None else None
    return known.remedy if known is not None else ""


def refused_error(what: str, *, remedy: str, status: int, code: int | None) -> TargetRefusedError:
    """The error of the port for a refusal: `status` of HTTP, `code` of the service or None."""
    return TargetRefusedError(
        what,
        remedy=remedy,
        refused_part=refused_part(status, code),
        too_large=status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        evidence={"status": int(status), "code": code},
    )
