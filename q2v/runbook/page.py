"""Write the runbook as Markdown: timeline, steps, way back, reference, messages."""

import pkgutil
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

import orjson

from q2v.options import taken_by
from q2v.output.advice import OF_ALL_INDEXES
from q2v.output.render import format_duration
from q2v.runbook.figures import Figures, Names
from q2v.runbook.samples import read_samples
from q2v.runbook.timeline import Step, steps, way_back

EACH_INDEX = "INDEX"  # in texts, of several vector indexes
PEOPLE_MINUTES = 10.0  # assumed for a step that people take
ROOM_MINUTES = 60.0  # in the window, beside the work and a rollback
UNTIL_EXAMPLE = "23:30"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evening:
    """When the freeze begins and the window ends; None: not decided yet."""

    freeze: datetime | None = None
    until: datetime | None = None

    def until_argument(self, figures: Figures) -> str:
        """The end of the window as `q2v gate --until` takes it."""
        if self.freeze is None:
            return UNTIL_EXAMPLE
        needed = figures.freeze + figures.rollback + ROOM_MINUTES
        until = self.until or self.freeze + timedelta(minutes=needed)
        return until.isoformat(timespec="minutes")


def page(
    title: str,
    names: Names,
    figures: Figures,
    evening: Evening,
    completed: Callable[[str], str],
) -> str:
    """The whole page. `completed` adds folder and flags to the commands in backquotes of a text."""
    until = evening.until_argument(figures)
    ahead = steps(names, until)
    return "\n".join(
        [
            f"# {title}",
            "",
            _text("introduction.md"),
            *_facts(names, figures, evening, until),
            *_parts(figures),
            "## Timeline",
            "",
            *_table(ahead, figures, evening),
            "",
            *(
                line
                for number, step in enumerate(ahead, 1)
                for line in _step(step, number, completed, names.indexes)
            ),
            "## The way back",
            "",
            "After an abort, and to take a cutover back. Then begin again at the step `migrate`.",
            "",
            *_table(way_back(names), figures, evening),
            "",
            *(
                line
                for number, step in enumerate(way_back(names), 1)
                for line in _step(step, number, completed, names.indexes)
            ),
            "## The commands",
            "",
            "One section for each, in the same order. Each can be taken alone.",
            "",
            _text("reference.md"),
            "## Messages",
            "",
            "What a command prints when it ends early, and what to do. `...` stands for names and",
            "numbers; the message itself says the same, with the names.",
            "",
            "| message | exit | what to do |",
            "|---|---|---|",
            *_messages(),
            "",
        ]
    )


def _facts(names: Names, figures: Figures, evening: Evening, until: str) -> Iterator[str]:
    reduced = (
        f"{figures.source_dimensions} -> {figures.dimensions}"
        if figures.source_dimensions != figures.dimensions
        else str(figures.dimensions)
    )
    rows = {
        "collection": f"`{names.collection}` at {names.source}",
        **(
            {}
            if names.filter is None
            else {"only the points that match": f"`{_cell(names.filter)}`"}
        ),
        **(
            {"vector indexes": ", ".join(f"`{one}`" for one in names.indexes)}
            if names.indexes
            else {"vector index": f"`{names.vector_index}`"}
        ),
        "KV namespace": f"`{names.kv_namespace}`" if names.kv_namespace else "provision creates it",
        "account": f"fingerprint {names.account}" if names.account else "not configured",
        "snapshots and runs": f"`{names.folder}`",
        "points": f"{figures.points:,}, of which {figures.vectors:,} move in {figures.files:,} "
        f"files; {figures.quarantined:,} are left out",
        "dimensions": reduced,
        "writers stand still for": f"about {_minutes(figures.freeze)}",
        "a rollback takes": _minutes(figures.rollback),
        "cost": f"{figures.usd_per_month:.2f} USD a month",
        "the numbers rest on": figures.basis,
    }
    if evening.freeze is not None:
        rows["the freeze begins"] = f"{evening.freeze:%Y-%m-%d %H:%M} UTC"
        rows["the window ends"] = until
    yield from ("| | |", "|---|---|")
    yield from (f"| {name} | {value} |" for name, value in rows.items())
    yield ""


def _parts(figures: Figures) -> Iterator[str]:
    """A row for each of several vector indexes, and how its commands are given."""
    if not figures.parts:
        return
    yield "| vector index | vectors | files | left out | upload | compare | rollback |"
    yield "|---|---|---|---|---|---|---|"
    for name, one in [*((f"`{name}`", one) for name, one in figures.parts), ("together", figures)]:
        counts = (f"{count:,}" for count in (one.vectors, one.files, one.quarantined))
        takes = map(_minutes, (one.upload, one.compare, one.rollback))
        yield f"| {' | '.join([name, *counts, *takes])} |"
    yield ""
    yield (
        "A command that names a vector index is given for each of them, and the next step begins "
        f"when all have done it. In the texts {EACH_INDEX} stands for each. `q2v fleet run` with "
        "a fleet.toml gives them in this order (docs/fleet.md)."
    )
    yield ""


def _table(some: Sequence[Step], figures: Figures, evening: Evening) -> Iterator[str]:
    yield "| | when | step | who | takes | abort when |"
    yield "|---|---|---|---|---|---|"
    spent: dict[float, float] = {}
    for number, step in enumerate(some, 1):
        before = spent.get(step.day, 0.0)
        minutes = step.minutes(figures)
        spent[step.day] = before + (PEOPLE_MINUTES if minutes is None else minutes)
        when = step.when
        if evening.freeze is not None:
            begins = evening.freeze + timedelta(days=step.day, minutes=before)
            when = f"{begins:%Y-%m-%d %H:%M}, {step.when}"
        takes = "people's time" if minutes is None else _minutes(minutes)
        title = f"**{step.title}**" if step.is_decision else step.title
        cells = (str(number), when, f"{title} (`{step.name}`)", step.who, takes, step.abort)
        yield f"| {' | '.join(cells)} |"


def _for_each(argv: Sequence[str], indexes: Sequence[str]) -> Iterator[Sequence[str]]:
    """The command, once for each vector index that it can work on."""
    takes_one = any(one.key == "target.vector_index" for one in taken_by(argv[0]))
    if not indexes or argv[0] in OF_ALL_INDEXES or not takes_one:
        yield argv
        return
    yield from ([*argv, "--vector-index", index] for index in indexes)


def _step(
    step: Step, number: int, completed: Callable[[str], str], indexes: Sequence[str]
) -> Iterator[str]:
    yield f"### {number}. {step.title}"
    yield ""
    if step.does:
        yield step.does
        yield ""
    for argv in chain.from_iterable(_for_each(words, indexes) for words in step.argv):
        exits = " ".join(map(str, step.exits))
        yield f"<!-- step: {step.name} exits: {exits} -->"
        yield from ("```sh", completed(f"`q2v {shlex.join(argv)}`").strip("`"), "```", "")
    for command in step.others:
        yield from ("```", command, "```", "")
    exits = f" (exit {' or '.join(map(str, step.exits))})" if step.argv else ""
    samples = read_samples()
    yield from _seen(f"* **You see**: {step.sees}{exits}", samples.get(step.name))
    if step.trouble is not None:
        code = step.trouble.exit_code
        cause = completed(step.trouble.cause)
        shown = samples.get(f"{step.name} {code}")
        yield from _seen(f"* **When it is not well**, for example (exit {code}): {cause}", shown)
    yield _sentence(f"* **Abort when**: {completed(step.abort)}")
    yield _sentence(f"* **Undo**: {completed(step.undo)}")
    yield ""


def _seen(text: str, sample: str | None) -> Iterator[str]:
    """What is on the screen: in words, and as it looked when a test ran the command."""
    yield _sentence(text)
    if sample is None:
        return
    yield from ("", "  ```text")
    yield from (f"  {line}".rstrip() for line in sample.splitlines())
    yield from ("  ```", "")


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _minutes(minutes: float) -> str:
    return format_duration(max(60.0, minutes * 60))


def _messages() -> Iterator[str]:
    for entry in orjson.loads(_text("messages.json")):
        if entry["exit_code"] is None:
            continue  # a part of a message, or what is said on the way
        message, advice = (_cell(entry[name]) for name in ("message", "advice"))
        yield f"| {message} | {entry['exit_code']} | {advice} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _text(name: str) -> str:
    """A file of this package."""
    content = pkgutil.get_data("q2v.runbook", name)
    assert content is not None, "the wheel holds it"
    return content.decode()
