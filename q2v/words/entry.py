"""One explained word."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of q2v's output."""

    name: str  # as it is printed
    kind: str  # what it is a name of
    means: str
    advice: str = ""  # what to do; may name commands in backquotes
    forms: tuple[str, ...] = ()  # of a message: what it becomes
    written_as: str = ""  # the form in a JSON document, where that is another
