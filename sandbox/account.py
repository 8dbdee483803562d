"""One account: both stores, the budget, the faults on order."""

from pathlib import Path

from sandbox.clock import SandboxClock
from sandbox.database import open_database
from sandbox.errors import ServiceError
from sandbox.faults import Faults
from sandbox.kv_store import KvStore
from sandbox.profile import Profile
from sandbox.rate import RequestBudget
from sandbox.vector_store import VectorStore


class Account:
    """Everything behind the API of one account."""

    def __init__(self, folder: Path, profile: Profile, clock: SandboxClock, faults: Faults) -> None:
        self._database = open_database(folder)
        self.profile = profile
        self.clock = clock
        self.faults = faults
        self.budget = RequestBudget(profile, clock)
        self.vectors = VectorStore(self._database, profile, clock, faults)
        self.kv = KvStore(self._database, profile, clock, faults)

    def refuse_fast_writes(self) -> None:
        """The write rate of the vector service itself, with HTTP 400 as it was seen."""
        if self.faults.due("40041"):
            raise ServiceError(400, 40041, "vectorize.upstream_error - Too Many Requests")

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()
