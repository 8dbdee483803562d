"""Faults on order: a comma-separated list that makes the stand-in misbehave, the same every time.

lost-answer:every=7,kv-partial:every=3,429:after=50,slow:ms=200
"""

from dataclasses import dataclass, field

# name -> (parameter, what it does)
KNOWN = {
    "lost-answer": ("every", "every n-th write is taken, and its answer is a 504 page"),
    "reset": ("every", "every n-th write is taken, and its answer is cut off"),
    "html-502": ("every", "every n-th request is not taken: a 502 page"),
    "garbage": ("every", "every n-th read answers 200 with half a JSON document"),
    "40041": ("every", "every n-th vector write is refused as too fast (HTTP 400, code 40041)"),
    "429": ("after", "after n requests one is answered 429 and the budget's block begins"),
    "slow": ("ms", "every answer takes this much longer"),
    "stale": ("every", "every n-th read of vectors shows an older state"),
    "kv-partial": ("every", "every n-th bulk write leaves some keys out and says so"),
}


@dataclass(slots=True)
class Faults:
    """The ordered faults and how often each has been asked about."""

    numbers: dict[str, int] = field(default_factory=dict)  # name -> its parameter
    asked: dict[str, int] = field(default_factory=dict)

    def due(self, name: str) -> bool:
        """Whether this request is an n-th one; counts the question."""
        every = self.numbers.get(name)
        if every is None:
            return False
        self.asked[name] = self.asked.get(name, 0) + 1
        if name == "429":
            return self.asked[name] == every + 1
        return self.asked[name] % every == 0

    def delay_s(self) -> float:
        """How much longer every answer takes."""
        return self.numbers.get("slow", 0) / 1000


def parse_faults(spec: str | None) -> Faults:
    """Read a list of faults. Raises ValueError naming the known ones."""
    faults = Faults()
    for part in filter(None, (spec or "").split(",")):
        name, _, parameter = part.strip().partition(":")
        key, _, number = parameter.partition("=")
        known = KNOWN.get(name)
        if known is None or key != known[0] or not number.isdigit() or int(number) < 1:
            raise ValueError(
                f"unknown fault {part!r}; known are "
                + ", ".join(f"{one}:{parameter}=N" for one, (parameter, _) in KNOWN.items())
            )
        faults.numbers[name] = int(number)
    return faults
