"""What the runbook shows of a screen: the result, without the lines of its progress."""

import os
import re
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from itertools import dropwhile, groupby

from q2v.runbook.samples import read_samples, samples_text
from q2v.runbook.timeline import steps, way_back
from tests.harness.running.workspace import REPOSITORY
from tests.q2v.screens.plain import plain
from tools.runbook_page import NAMES

ACCEPT = "ACCEPT_RUNBOOK"
SAMPLES = REPOSITORY / "q2v" / "runbook" / "samples.txt"
LEFT_OUT = "..."
_RESULT = re.compile(r"q2v: |[a-z][\w ]* {2,}\S")  # an error, or the first row of a table
_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")
_FIGURES = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{16,64}\b|\d[\d,.]*")


def excerpt(screen: Sequence[str], *, whole: bool = False) -> str:
    """The first block of lines and the last one, `...` in the place of those between.

    `whole`: and those between, as they are.
    """
    lines = dropwhile(lambda line: not _RESULT.match(line), screen)
    told = [_PORT.sub("6333", line) for line in lines]
    blocks = [list(group) for is_text, group in groupby(told, key=bool) if is_text]
    if len(blocks) > 2 and not whole:
        blocks[1:-1] = [[LEFT_OUT]]
    return "\n\n".join("\n".join(block) for block in blocks)


def check_samples(screens: Mapping[str, str]) -> None:
    """The runbook shows these screens, but for figures and ids.

    With ACCEPT_RUNBOOK in the environment samples.txt is written before.
    """
    kept = dict(read_samples())
    if os.environ.get(ACCEPT):
        kept |= screens
        order = [step.name for step in [*steps(NAMES, ""), *way_back(NAMES)]]
        names = sorted(kept, key=lambda name: (order.index(name.split()[0]), name))
        text = samples_text({name: kept[name] for name in names})
        SAMPLES.write_text(text, encoding="utf-8")
    differing = [
        "\n".join(unified_diff(_words(kept.get(name, "")), _words(text), "kept", name, n=4))
        for name, text in screens.items()
    ]
    assert not any(differing), "\n\n".join(filter(None, differing))


def _words(sample: str) -> Sequence[str]:
    return _FIGURES.sub("N", plain([sample], {})).split()
