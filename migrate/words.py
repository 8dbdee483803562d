"""Counts in words, for every message: one vector, 1,200 vectors."""

_IRREGULAR = {"index": "indexes", "entry": "entries", "query": "queries", "body": "bodies"}


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 vector`, `0 vectors`, `1,200 vectors`; of several words the last one gets its plural."""
    if number == 1:
        return f"1 {noun}"
    if plural is None:
        head, _, last = noun.rpartition(" ")
        plural = f"{head} {_IRREGULAR.get(last, f'{last}s')}".strip()
    return f"{number:,} {plural}"
