"""Lay out the pages of the project for the site: `python -m tools.site FOLDER`.

Every page keeps its place, so its links lead where they lead in the repository. The project's pages
are written for CommonMark. The site's Markdown wants four blanks for what is inside a list item,
and an empty line before a list; both are put in here.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_MARKER = re.compile(r"(?:[*-]|\d+\.) +")
_FENCE = re.compile(r"`{3,}|~{3,}")
_LEVEL = 4  # blanks
_KINDS = {".md", ".png", ".css", ".js"}


def pages(root: Path) -> list[Path]:
    """Every page, picture, style and script of the site, and the licence that README links to."""
    docs = [path for path in root.glob("docs/**/*") if path.suffix in _KINDS]
    others = [*root.glob("*.md"), *root.glob("[a-z]*/README.md"), root / "benchmarks/RESULTS.md"]
    return sorted({*docs, *others, root / "LICENSE"})


def lay_out(folder: Path, root: Path = ROOT) -> None:
    """Replace the folder by the pages, each at its place."""
    shutil.rmtree(folder, ignore_errors=True)
    for page in pages(root):
        place = folder / page.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if page.suffix == ".md":
            place.write_text(widen_lists(page.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            shutil.copyfile(page, place)


def widen_lists(text: str) -> str:
    """Indent what is inside list items by four blanks a level; begin a list after an empty line."""
    lines: list[str] = []
    contents: list[int] = []  # where the content of each open item begins, outermost first
    fence = ""
    for line in text.splitlines():
        blanks = len(line) - len(line.lstrip(" "))
        marker = None if fence else _MARKER.match(line, blanks)
        if line.strip() and not fence:
            while contents and blanks < contents[-1]:
                contents.pop()
        if marker and not contents and lines and _is_text(lines[-1]):
            lines.append("")
        inside = contents[-1] if contents else 0
        indent = _LEVEL * len(contents) + max(0, blanks - inside)
        lines.append(" " * indent + line[blanks:] if line.strip() else "")
        if marker:
            contents.append(marker.end())
        fence = _fence_after(fence, line.strip())
    return "\n".join(lines) + "\n"


def _is_text(line: str) -> bool:
    """Whether a list right after this line would be read as a part of its paragraph."""
    return bool(line) and not line.startswith((" ", "#", "|", "<!--")) and not _MARKER.match(line)


def _fence_after(fence: str, stripped: str) -> str:
    """The mark that ends the block of code that is open after a line, or ""."""
    if fence:
        return "" if stripped == fence else fence
    opened = _FENCE.match(stripped)
    return opened[0] if opened else ""


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
