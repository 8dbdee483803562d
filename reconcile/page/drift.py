"""The ids that differ: what each class means, and the rows as data for the page. Pure."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from reconcile.page.documents import Documents

_PLURAL = re.compile(r"\b(vector|key|point|counter)s\b")
FIRST_ROWS = 25  # in the page's own text: without a script, and on paper
KEPT = "changed by another writer"  # a repair keeps such a record unless it is forced


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassWords:
    """A class of drift in words."""

    symbol: str  # as in combined.ids; of classes that are not in it, a letter
    title: str
    means: str
    what: str = ""  # differs in a record of the class, where no field is named
    tone: str = "bad"  # bad: drift; warn: known, or not certain

    @property
    def one(self) -> str:
        """The title for one record."""
        return _PLURAL.sub(r"\1", self.title)


CLASSES = {
    "missing": ClassWords(
        symbol="+",
        title="missing vectors",
        means="written by the run, not in the vector index",
        what="absent",
    ),
    "extra": ClassWords(
        symbol="-",
        title="extra vectors",
        means="in the vector index, not written by the run",
        what="not of this run",
    ),
    "mismatched": ClassWords(
        symbol="*", title="different vectors", means="read back with other contents than written"
    ),
    "unreadable": ClassWords(
        symbol="!",
        title="unreadable vectors",
        means="listed, and could not be read back",
        tone="warn",
        what="not read",
    ),
    "unlisted": ClassWords(
        symbol="?",
        title="unlisted vectors",
        means="can be read, and the listing leaves them out",
        tone="warn",
        what="not listed",
    ),
    "unfiltered": ClassWords(
        symbol="f",
        title="vectors not in a filter",
        means="a repair writes them again, for a metadata index",
        what="not found by a filter",
    ),
    "counter": ClassWords(
        symbol="*", title="wrong counters", means="the KV counter is not the one that was written"
    ),
    "kv_missing": ClassWords(
        symbol="+",
        title="missing KV keys",
        means="written by the run, not in the KV index",
        what="absent",
    ),
    "kv_extra": ClassWords(
        symbol="-",
        title="extra KV keys",
        means="in the KV index, not written by the run",
        what="not of this run",
    ),
    "kv_mismatched": ClassWords(
        symbol="*", title="different KV keys", means="read with another entry than written"
    ),
    "kv_unlisted": ClassWords(
        symbol="?",
        title="unlisted KV keys",
        means="can be read, and the listing leaves them out",
        tone="warn",
        what="not listed",
    ),
    "kv_unreadable": ClassWords(
        symbol="!",
        title="unreadable KV keys",
        means="listed, and read as absent",
        tone="warn",
        what="read as absent",
    ),
    "source_added": ClassWords(
        symbol="+",
        title="points added to the source",
        means="in the source, not in the snapshot",
        tone="warn",
        what="not in the snapshot",
    ),
    "source_changed": ClassWords(
        symbol="*",
        title="points changed in the source",
        means="not as in the snapshot",
        tone="warn",
    ),
    "source_deleted": ClassWords(
        symbol="-",
        title="points deleted from the source",
        means="in the snapshot, no longer in the source",
        tone="warn",
        what="gone",
    ),
    "source_unreadable": ClassWords(
        symbol="!",
        title="points that the source did not return",
        means="in the snapshot, and could not be read again",
        tone="warn",
        what="not read",
    ),
}


def words_of(name: str) -> ClassWords:
    """The words of a class; one that this version does not know is shown by its name."""
    return CLASSES.get(name) or ClassWords(symbol="?", title=name, means="", tone="warn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One id of one class."""

    symbol: str
    title: str
    tone: str
    line: str
    differs: tuple[str, ...]
    what: str  # where `differs` is empty


def first_rows(documents: Documents) -> list[Row]:
    """The rows that are in the page's text: the first of each class, then more of the first."""
    return [
        Row(
            symbol=words.symbol,
            title=words.one,
            tone=words.tone,
            line=line,
            differs=_differs(documents, line),
            what=words.what,
        )
        for rows in documents.rows
        for words in [words_of(rows.name)]
        for line in rows.lines[: max(1, FIRST_ROWS // len(documents.rows))]
    ]


def what_differs(documents: Documents) -> list[tuple[str, int]]:
    """Name of what differs -> records, the most frequent first, over all records with names."""
    names = Counter(name for found in documents.differs.values() for name in found)
    return sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes in the order of `CLASSES`; unknown ones last."""
    known = {name: at for at, name in enumerate(CLASSES)}
    return sorted(names, key=lambda name: (known.get(name, len(known)), name))


def encode_rows(documents: Documents) -> str:
    """All rows as JSON for a data block of the page.

    ASCII without `<`, `>` and `&`, so that no text ends the block or begins another element.
    """
    data = {
        "classes": [
            {
                "name": rows.name,
                "symbol": words.symbol,
                "title": words.one,
                "tone": words.tone,
                "what": words.what,
                "ids": rows.lines,
            }
            for rows in documents.rows
            for words in [words_of(rows.name)]
        ],
        "differs": {
            line: _differs(documents, line) for line in {*documents.differs, *documents.foreign}
        },
        "payloads": dict(documents.payloads),
    }
    return encode_data(data)


def encode_data(data: object) -> str:
    """JSON that can stand in a data block; members sorted, so that equal data has equal bytes."""
    text = json.dumps(data, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _differs(documents: Documents, line: str) -> tuple[str, ...]:
    named = documents.differs.get(line, ())
    return (*named, KEPT) if line in documents.foreign else tuple(named)


def listed(names: Iterable[str]) -> str:
    """Texts as a list in a sentence: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
