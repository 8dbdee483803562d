"""Random decisions, equal for equal seeds."""

import hashlib
import random


class Chance:
    """One seeded generator per purpose, so that purposes do not affect each other."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._coins: dict[str, random.Random] = {}
        self._last: dict[str, bool] = {}

    def strikes(self, purpose: str, rate: float) -> bool:
        """Whether it happens now; never twice in a row for one purpose, unless `rate` is 1."""
        coin = self._coins.setdefault(
            purpose,
            random.Random(f"{self._seed}/{purpose}"),  # noqa: S311 - imitation, not secrecy
        )
        struck = coin.random() < rate and (rate >= 1.0 or not self._last.get(purpose, False))
        self._last[purpose] = struck
        return struck


def share(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone; the same after a restart."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
