"""What the target's answers mean: error codes of the Cloudflare API, and HTTP statuses."""

import re

from migrate.cloudflare.client.codes import CODES, Subject
from migrate.cloudflare.client.verdict import access_remedy, quota_remedy
from q2v.words.entry import Word

_RETRIED = (
    "nothing: q2v asks again by itself; exit 7 or 8 when that does not help, and then run the same "
    "command again"
)
_ADVICE = {
    Subject.ACCESS: access_remedy(401, None, ""),
    Subject.BUDGET: _RETRIED,
    Subject.WRITE_RATE: _RETRIED,
    Subject.QUOTA: quota_remedy(None),
    Subject.CONTENT: "`q2v status` names the vectors that were refused, and what to do about them",
}
_STATUSES = {
    400: ("the target refuses the request, or a vector in it", "the code beside it says what"),
    401: ("the target does not know the token or the key", _ADVICE[Subject.ACCESS]),
    403: (
        "the token or the key may not do this",
        "the message names the permission it asked for; `q2v init` lists the permissions of each "
        "token",
    ),
    404: (
        "the index, the namespace or the collection is not there",
        "check the names under [target] and [source]; `q2v check` asks for each",
    ),
    413: ("the upload is larger than the service takes", "nothing: q2v sends smaller ones"),
    429: ("too many requests for the moment", _RETRIED),
    500: ("the service has failed", _RETRIED),
    502: ("a gateway before the service has failed", _RETRIED),
    503: ("the service takes no requests for the moment", _RETRIED),
    504: ("the service gave no answer in time", _RETRIED),
}
_NAMED = re.compile(r"\b(?:http|code) (\d+)\b")


def answers_in(plain: str) -> list[Word]:
    """The codes and statuses that a text in lower case names, a code before its status."""
    words = {word.name.lower(): word for word in answers()}
    found = [found[0] for found in _NAMED.finditer(plain)]
    return [words[name] for name in sorted(dict.fromkeys(found)) if name in words]


def answers() -> list[Word]:
    """Every code and status that q2v knows."""
    codes = [
        Word(
            name=f"code {known.code}",
            kind="error code of the Cloudflare API",
            means=known.meaning,
            advice=known.remedy or _ADVICE.get(known.subject, ""),
        )
        for known in CODES.values()
    ]
    statuses = [
        Word(name=f"HTTP {status}", kind="status of an answer", means=means, advice=advice)
        for status, (means, advice) in _STATUSES.items()
    ]
    return [*codes, *statuses]
