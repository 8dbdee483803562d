"""Counts in words, for every message: one vector, 1,200 vectors."""

_HOURS_FROM = 120  # minutes
_PLURAL_VERBS = {"is": "are", "was": "were", "has": "have", "does": "do"}
_IRREGULAR = {
    "index": "indexes",
    "entry": "entries",
    "query": "queries",
    "body": "bodies",
    "property": "properties",
}


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 vector`, `0 vectors`, `1,200 vectors`; of several words the last one gets its plural."""
    if number == 1:
        return f"1 {noun}"
    if plural is None:
        head, _, last = noun.rpartition(" ")
        plural = f"{head} {_IRREGULAR.get(last, f'{last}s')}".strip()
    return f"{number:,} {plural}"


def of_unit(number: int, unit: str) -> str:
    """`1 vector`, `2 vectors`, for a `unit` that is given in the plural."""
    singular = next(
        (one for one, some in _IRREGULAR.items() if some == unit), unit.removesuffix("s")
    )
    return counted(number, singular, unit)


def subject(number: int, noun: str, verb: str) -> str:
    """`1 vector is`, `2 vectors are`; `verb` is that of the third person singular."""
    plural = _PLURAL_VERBS.get(verb, verb.removesuffix("s"))
    return f"{counted(number, noun)} {verb if number == 1 else plural}"


def minutes_in_words(minutes: float) -> str:
    """`less than a minute`, `37 min`, `250 min (4.2 h)`."""
    if minutes < 1:
        return "less than a minute"
    return f"{minutes:.0f} min" + (f" ({minutes / 60:.1f} h)" if minutes >= _HOURS_FROM else "")
