"""The errors that the client raises for answers it cannot use, with the text of the answer."""

from collections.abc import Sequence
from typing import assert_never

from migrate.cloudflare.client.api import Operation, refusal_sentence
from migrate.cloudflare.client.verdict import (
    AccessDenied,
    Blocked,
    QuotaReached,
    Redirected,
    Retry,
    access_remedy,
    quota_remedy,
)
from migrate.errors import (
    AccessError,
    BudgetExhaustedError,
    MigrationError,
    RemoteUnavailableError,
)
from migrate.model.limits import RETRY_AFTER_S_MAX
from migrate.transport.answer_words import words_of
from migrate.transport.masking import mask_secrets, printable
from migrate.words import counted

SHOWN_CHARACTERS_MAX = 200  # of a server's text
REASON_CHARACTERS_MAX = 2 * SHOWN_CHARACTERS_MAX  # of a reason that quotes the server
FOREIGN_REMEDY = (
    "check target.api_base_url and the network between this machine and the service (a proxy, a "
    "firewall, a login page), then run the same command again: it resumes"
)


class RetryableError(Exception):
    """The attempt failed and another may succeed. Only the client sees it."""

    def __init__(
        self,
        reason: str,
        *,
        after_s: float | None = None,
        blocked: bool = False,
        foreign: bool = False,
    ) -> None:
        super().__init__(reason)
        self.after_s = after_s  # the wait that the service asks for, in seconds
        self.blocked = blocked  # the request budget waits, so the retry does not
        self.foreign = foreign  # the answer does not come from the service


class AnswerErrors:
    """Errors about answers, with every secret masked."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """`secrets` are masked in every text of a server or a library."""
        self._secrets = tuple(secrets)

    def shown(self, text: str, *, characters_max: int = SHOWN_CHARACTERS_MAX) -> str:
        """A text of a server or a library for a message: masked, then escaped, then cut."""
        return printable(mask_secrets(text, self._secrets), characters_max=characters_max)

    def final(
        self, operation: Operation, verdict: AccessDenied | QuotaReached | Redirected, ray: str
    ) -> MigrationError:
        """The error for an answer that a retry cannot change."""
        if isinstance(verdict, Redirected):
            return RemoteUnavailableError(
                f"{operation.name}: HTTP {verdict.status} redirects to another address; "
                "redirects are not followed",
                remedy=FOREIGN_REMEDY,
            )
        text = self.shown(verdict.text)
        sentence = refusal_sentence(operation, verdict.status, verdict.code, text, ray)
        match verdict:
            case AccessDenied():
                return AccessError(
                    sentence, remedy=access_remedy(verdict.status, verdict.code, operation.scope)
                )
            case QuotaReached():
                return BudgetExhaustedError(sentence, remedy=quota_remedy(verdict.code))
            case _:
                assert_never(verdict)

    def blocked(
        self, operation: Operation, verdict: Blocked, body: bytes, *, silence_s: float
    ) -> Exception:
        """The error for a block: another attempt after it, unless the run would wait too long.

        `silence_s` is the length of this block and the earlier ones of the same request. The
        documented block ends after five minutes; one that goes beyond the limit is another one.
        """
        reason = self.shown(verdict.reason, characters_max=REASON_CHARACTERS_MAX)
        if not verdict.names_error:
            reason += self._words(body)
        if silence_s <= RETRY_AFTER_S_MAX:
            return RetryableError(reason, blocked=True)
        return BudgetExhaustedError(
            f"{operation.name}: {reason}; the blocks last {silence_s:.0f} s in all, and a "
            f"run waits at most {RETRY_AFTER_S_MAX} s for one request",
            remedy="stop the other programs that use this account, or wait until the limit of the "
            "answer ends, then run the same command again: it resumes",
        )

    def retry(self, verdict: Retry, body: bytes, ray: str) -> Exception:
        """The error for another attempt, unless the server asks for a longer wait than allowed."""
        reason = self.shown(verdict.reason, characters_max=REASON_CHARACTERS_MAX)
        reason += self._words(body) + (f" (cf-ray {ray})" if ray else "")
        if verdict.after_s is not None and verdict.after_s > RETRY_AFTER_S_MAX:
            return BudgetExhaustedError(
                f"{reason}; it asks to wait {verdict.after_s:.0f} s",
                remedy="run the same command again after that time: it resumes",
            )
        return RetryableError(reason, after_s=verdict.after_s, foreign=verdict.foreign)

    def exhausted(
        self, operation: Operation, error: RetryableError, attempts: int
    ) -> MigrationError:
        """The error after the last attempt."""
        what = f"{operation.name}: no usable answer in {counted(attempts, 'attempt')}: {error}"
        if error.blocked:
            return BudgetExhaustedError(
                what,
                remedy="stop the other programs that use this account, then run again: it resumes",
            )
        resumes = "run the same command again: it resumes"
        return RemoteUnavailableError(what, remedy=FOREIGN_REMEDY if error.foreign else resumes)

    def _words(self, body: bytes) -> str:
        words = self.shown(words_of(body))
        return f"; the answer says '{words}'" if words else "; the answer is empty"
