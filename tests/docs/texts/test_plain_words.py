"""Texts are in plain words: the phrases that mark a private dialect are refused (docs/glossary.md).

A text is a page, or a comment, docstring or message of the code. Names do not count.
"""

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.texts.named import ROOT

# The register of a library reference has other words for all of these.
REFUSED = re.compile(
    r"\b(nobody|somebody|whoever|of ours|not ours|is told|was told|told of|told apart|tells of"
    r"|looked at|looks at it again|stays? behind|left behind|goes on|went on|going on"
    r"|anew|so many|let go of|lets go of|hopefully|sulks?)\b",
    re.IGNORECASE,
)
# Packages join this list when their texts have been rewritten; none leaves it.
CODE = (
    "migrate",
    "reconcile",
    "q2v",
    "tests/harness",
    "tests/reconcile",
    "rehearsal",
    "sandbox",
    "benchmarks",
    "tools",
    "examples",
)
PAGES = (
    *("*.md", "docs/*.md", "sandbox/*.md", "benchmarks/*.md", "examples/*.md", "snapshots/*.md"),
    *("tests/*.md", "tests/cases/**/*.md", "tests/clients/*.md", "tests/conformance/*.md"),
    *("worker/*.md", "worker/kit/*.md", "worker/src/**/*.ts", "worker/kit/*.ts"),
    *("worker/test/**/*.ts",),
)
# Frozen when they were written.
HISTORY = {"CHANGELOG.md"}


def pages() -> list[Path]:
    return [path for glob in PAGES for path in sorted(ROOT.glob(glob)) if path.name not in HISTORY]


def modules() -> list[Path]:
    return [path for package in CODE for path in sorted((ROOT / package).rglob("*.py"))]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module with the line that each starts at."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in {tokenize.COMMENT, tokenize.STRING}:
                yield token.start[0], token.string


def refused(lines: Iterator[tuple[int, str]]) -> list[str]:
    """Every refused phrase with its line."""
    return [
        f"{start + text.count(chr(10), 0, match.start())}: {match[0]}"
        for start, text in lines
        for match in REFUSED.finditer(text)
    ]


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_is_in_plain_words(page: Path) -> None:
    assert refused(iter([(1, page.read_text(encoding="utf-8"))])) == []


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_texts_of_a_module_are_in_plain_words(module: Path) -> None:
    assert refused(texts(module)) == []


def test_a_refused_phrase_is_found_in_comments_docstrings_and_messages(tmp_path: Path) -> None:
    source = tmp_path / "dialect.py"
    source.write_text('"""Nobody\n\ngoes on."""\nx = "told of"  # so many\nanew = 1\n')

    assert refused(texts(source)) == ["1: Nobody", "3: goes on", "4: told of", "4: so many"]
