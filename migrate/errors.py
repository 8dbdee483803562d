"""Every failure raised on purpose, with its exit code and the operator's next step.

MigrationError
|- UsageError                 2   settings or arguments are wrong
|- QuarantineExceededError    3   more points cannot move than the run allows
|- PreconditionError          5   the stores are not as the plan needs them
|- UnreadablePointError       5   the source cannot give one point, which is named
|- TargetRefusedError         5   the target refused a request; the same bytes are never retried
|- AccessError                6   token, permission or TLS trust
|- RemoteUnavailableError     7   no answer within the retry budget; running again is safe
|- VerifierUnusableError      7   the answers of a verifier cannot be used; REST reads on
|- BudgetExhaustedError       8   deadline, rate budget or stop file; running again is safe
|- LocalStorageError          9   disk full, read-only, I/O error
|- ArtefactDamagedError      10   a file does not match its digest
|- RunLockedError            11   another process works on the same folder
|- ForeignStateError         12   state of another plan, account, index or format
`- IndeterminateError        13   not everything could be read, or writes did not settle
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import ClassVar

from typing_extensions import override

_RESUMING = "snapshot, migrate, catch-up, reconcile and rollback resume"


class ExitCode(IntEnum):
    """Exit codes of `q2v`; RUNBOOK.md tabulates them and a test keeps both equal."""

    meaning: str
    run_again: str

    def __new__(cls, value: int, meaning: str, run_again: str) -> "ExitCode":
        """Attach the runbook's two sentences to the number."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.run_again = run_again
        return member

    DONE = 0, "done; for reconcile: no drift at the stated coverage", "yes"
    INTERNAL = 1, "internal error: a bug in q2v", "yes, and report it"
    USAGE = 2, "usage or configuration", "after the fix"
    QUARANTINED = 3, "finished or stopped with quarantined points that are not waived", "yes"
    DRIFT = 4, "drift found, or rollback conflicts left", "yes"
    PRECONDITION = 5, "a precondition failed", "after a decision"
    ACCESS = 6, "authentication, permission or TLS trust", "with a good token or trust store"
    UNAVAILABLE = 7, "remote unavailable, retry budget used up", f"yes; {_RESUMING}"
    BUDGET = 8, "deadline or rate budget used up, or stop file seen", f"yes; {_RESUMING}"
    LOCAL_IO = 9, "local input or output failed", f"after the fix; {_RESUMING}"
    DAMAGED = 10, "an artefact is damaged", "no: investigate"
    LOCKED = 11, "another run holds the lock", "later"
    FOREIGN = 12, "state of another plan, account, index or format", "no: right folder or new plan"
    INDETERMINATE = 13, "could not read everything, or writes did not settle", "yes"
    INTERRUPTED = 130, "stopped by SIGINT after a flush", f"yes; {_RESUMING}"
    TERMINATED = 143, "stopped by SIGTERM or SIGHUP after a flush", f"yes; {_RESUMING}"


class MigrationError(Exception):
    """Base of every failure that is raised on purpose; any other exception is a bug.

    `remedy` is one sentence that the operator can act on without reading the code.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, what: str, *, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the text and all attributes, so that errors of a worker reach its parent."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[MigrationError], args: tuple[object, ...], attributes: dict[str, object]
) -> MigrationError:
    """Rebuild a pickled error; its `__init__` needs keywords that `args` does not hold."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UsageError(MigrationError):
    """Settings or arguments are missing, contradictory or ill-formed."""

    exit_code = ExitCode.USAGE


class QuarantineExceededError(MigrationError):
    """More points are quarantined than the run allows."""

    exit_code = ExitCode.QUARANTINED


class PreconditionError(MigrationError):
    """A store is not as the plan needs it; the operator has to decide."""

    exit_code = ExitCode.PRECONDITION


class UnreadablePointError(MigrationError):
    """The source cannot give one point; it gives the points before and after it.

    `point_id` and `point_id_type` are as in a snapshot's columns, and so is `shard_key` where the
    collection has custom sharding; a caller may leave the point out.
    """

    exit_code = ExitCode.PRECONDITION

    def __init__(self, what: str, *, remedy: str, point_id: str, point_id_type: str) -> None:
        super().__init__(what, remedy=remedy)
        self.point_id = point_id
        self.point_id_type = point_id_type
        self.shard_key: str | None = None


class RefusedPart(StrEnum):
    """The part of a request that the target refused."""

    LINE = "line"  # one line of the body: the answer says so
    CONTENT = "content"  # perhaps a part of the body: the answer names no line
    WHOLE = "whole"  # the request itself: no part of it would be taken


class TargetRefusedError(MigrationError):
    """The target refused a request, and would refuse the same bytes again.

    `too_large` says that a smaller body may be taken; `evidence` is what the journal keeps of the
    answer (`status` and `code`).
    """

    exit_code = ExitCode.PRECONDITION

    def __init__(
        self,
        what: str,
        *,
        remedy: str,
        refused_part: RefusedPart = RefusedPart.WHOLE,
        too_large: bool = False,
        evidence: Mapping[str, int | None] | None = None,
    ) -> None:
        super().__init__(what, remedy=remedy)
        self.refused_part = refused_part
        self.too_large = too_large
        self.evidence = dict(evidence or {})


class AccessError(MigrationError):
    """Token unknown, permission missing, or the peer's certificate is not trusted."""

    exit_code = ExitCode.ACCESS


class RemoteUnavailableError(MigrationError):
    """A remote store gave no usable answer within the retry budget; retrying is safe."""

    exit_code = ExitCode.UNAVAILABLE


class VerifierUnusableError(MigrationError):
    """A verifier gave no answer that proves anything; what it did not read is read over REST."""

    exit_code = ExitCode.UNAVAILABLE


class BudgetExhaustedError(MigrationError):
    """The time or request budget of the window is used up."""

    exit_code = ExitCode.BUDGET


class LocalStorageError(MigrationError):
    """The local disk is full, read-only or broken."""

    exit_code = ExitCode.LOCAL_IO


class ArtefactDamagedError(MigrationError):
    """A file that q2v wrote does not match its digest; nothing of it is used."""

    exit_code = ExitCode.DAMAGED


class RunLockedError(MigrationError):
    """Another process holds the lock of the same folder."""

    exit_code = ExitCode.LOCKED


class ForeignStateError(MigrationError):
    """The state found belongs to another plan, account, index or file format."""

    exit_code = ExitCode.FOREIGN


class IndeterminateError(MigrationError):
    """Something could not be read, or writes did not settle in time, so there is no verdict."""

    exit_code = ExitCode.INDETERMINATE
