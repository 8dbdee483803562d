"""What the client raises for an answer that is none: our words, and the answer's own."""

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

SHOWN_CHARACTERS_MAX = 200  # of a server's text
REASON_CHARACTERS_MAX = 2 * SHOWN_CHARACTERS_MAX  # ours, with a sentence of the server in it
FOREIGN_REMEDY = (
    "check target.api_base_url and what stands between this machine and the service (a proxy, a "
    "firewall, a login page), then run the same command again: it resumes"
)


class RetryableError(Exception):
    """Another attempt may succeed. Never leaves the client."""

    def __init__(
        self,
        reason: str,
        *,
        after_s: float | None = None,
        blocked: bool = False,
        foreign: bool = False,
    ) -> None:
        super().__init__(reason)
        self.after_s = after_s  # what the service asks for, in seconds
        self.blocked = blocked  # the request budget does the waiting
        self.foreign = foreign  # what answered is not the service


class AnswerErrors:
    """Errors about answers, with every secret masked."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """`secrets` are masked in every text of others."""
        self._secrets = tuple(secrets)

    def shown(self, text: str, *, characters_max: int = SHOWN_CHARACTERS_MAX) -> str:
        """A text of others, fit to be read by people: masked first, then escaped and cut."""
        return printable(mask_secrets(text, self._secrets), characters_max=characters_max)

    def hopeless(
        self, operation: Operation, verdict: AccessDenied | QuotaReached | Redirected, ray: str
    ) -> MigrationError:
        """The error for what no attempt mends."""
        if isinstance(verdict, Redirected):
            return RemoteUnavailableError(
                f"{operation.name}: HTTP {verdict.status} sends us elsewhere; "
                "redirects are never followed",
                remedy=FOREIGN_REMEDY,
            )
        text = self.shown(verdict.text)
        sentence = refusal_sentence(operation, verdict.status, verdict.code, text, ray)
        match verdict:
            case AccessDenied():
                return AccessError(sentence, remedy=access_remedy(verdict.code, operation.scope))
            case QuotaReached():
                return BudgetExhaustedError(sentence, remedy=quota_remedy(verdict.code))
            case _:
                assert_never(verdict)

    def blocked(
        self, operation: Operation, verdict: Blocked, body: bytes, *, silence_s: float
    ) -> Exception:
        """Another attempt after the silence, unless a run does not wait that long for one request.

        `silence_s` is what this block and the earlier ones of the same request ask for. A block
        that does not end is not the five minutes of the documentation.
        """
        reason = self.shown(verdict.reason, characters_max=REASON_CHARACTERS_MAX)
        if not verdict.names_error:
            reason += self._words(body)
        if silence_s <= RETRY_AFTER_S_MAX:
            return RetryableError(reason, blocked=True)
        return BudgetExhaustedError(
            f"{operation.name}: {reason}; it asks for {silence_s:.0f} s of silence in all, and a "
            f"run waits at most {RETRY_AFTER_S_MAX} s for one request",
            remedy="stop what else uses this account, or wait until the limit of the answer is "
            "lifted, then run the same command again: it resumes",
        )

    def again(self, verdict: Retry, body: bytes, ray: str) -> Exception:
        """Another attempt, unless the server wants more silence than a run waits for."""
        reason = self.shown(verdict.reason, characters_max=REASON_CHARACTERS_MAX)
        reason += self._words(body) + (f" (cf-ray {ray})" if ray else "")
        if verdict.after_s is not None and verdict.after_s > RETRY_AFTER_S_MAX:
            return BudgetExhaustedError(
                f"{reason}; it asks for {verdict.after_s:.0f} s of silence",
                remedy="run the same command again after that time: it resumes",
            )
        return RetryableError(reason, after_s=verdict.after_s, foreign=verdict.foreign)

    def given_up(
        self, operation: Operation, error: RetryableError, attempts: int
    ) -> MigrationError:
        """The error after the last attempt."""
        what = f"{operation.name}: no usable answer in {attempts} attempts: {error}"
        if error.blocked:
            return BudgetExhaustedError(
                what, remedy="stop what else uses this account, then run again: it resumes"
            )
        resumes = "run the same command again: it resumes"
        return RemoteUnavailableError(what, remedy=FOREIGN_REMEDY if error.foreign else resumes)

    def _words(self, body: bytes) -> str:
        words = self.shown(words_of(body))
        return f"; the answer says '{words}'" if words else "; the answer is empty"
