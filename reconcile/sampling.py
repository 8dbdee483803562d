"""Choose the rows of a sampled comparison, and compute what the sample proves. Pure and seeded."""

import random
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

RULE_OF_THREE = 3.0  # no mismatch in n draws: with 95 % confidence fewer than 3/n of all differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many of the vectors' contents were compared."""

    contents: str  # "full" | "sampled"
    checked: int  # vectors whose content was compared
    vectors: int  # of the run
    seed: int | None  # of the sample
    verified: int = 0  # of `checked`: a verifier proved the digest, REST read the others
    verifier: str | None = None  # its address; None: REST was to read all
    fell_back: str | None = None  # why REST read the rest in place of the verifier

    @property
    def read_by(self) -> str:
        """Who read the contents, for people."""
        if self.verifier is None and not self.verified:
            return "REST"
        at = self.verifier or "the address of an earlier command"
        words = f"the verifier at {at} {self.verified:,}, REST {self.rest:,}"
        return words if self.fell_back is None else f"{words}, because: {self.fell_back}"

    @property
    def rest(self) -> int:
        """Vectors that REST read."""
        return self.checked - self.verified

    @property
    def bound(self) -> float:
        """Upper bound, at 95 % confidence, of the share of differing vectors, between 0 and 1.

        It applies when the comparison found no difference.
        """
        if self.vectors == 0:
            return 0.0
        if self.contents == "full":
            return 0.0 if self.checked else 1.0  # no vector was read back
        return min(1.0, RULE_OF_THREE / self.checked) if self.checked else 1.0


def choose_rows(
    points: int, excluded: AbstractSet[int], *, sample: int, seed: int
) -> frozenset[int]:
    """`sample` rows of 0 .. points - 1 without the excluded ones; the same for the same seed.

    All of them if there are not more than `sample`.
    """
    chosen: set[int] = set()
    available = points - len(excluded)
    generator = random.Random(seed)  # noqa: S311 - a reproducible sample, no secret
    if sample >= available:
        return frozenset(row for row in range(points) if row not in excluded)
    while len(chosen) < sample:
        row = generator.randrange(points)
        if row not in excluded:
            chosen.add(row)
    return frozenset(chosen)
