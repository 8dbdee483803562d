"""Say which names of a --force file name nothing: most often they are misspelt."""

from collections.abc import Sequence

from migrate.words import subject

SHOWN_MAX = 10


def forced_document(unknown: Sequence[str]) -> dict[str, object]:
    """The members of a JSON document: how many, and the first of them."""
    return {"force_unknown_count": len(unknown), "force_unknown": list(unknown[:SHOWN_MAX])}


def forced_notes(unknown: Sequence[str]) -> list[str]:
    """One line for people about the unknown names; none if all are known."""
    if not unknown:
        return []
    shown = ", ".join(f"'{name}'" for name in unknown[:SHOWN_MAX])
    more = f" and {len(unknown) - SHOWN_MAX:,} more" if len(unknown) > SHOWN_MAX else ""
    return [
        f"warning: --force: {subject(len(unknown), 'name', 'is')} of nothing in this run and had "
        f"no effect: {shown}{more}"
    ]
