"""Write a command's result to stdout: aligned lines for people, or exactly one JSON document."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from q2v.invocation import current_invocation
from q2v.output.logs import PROCESS_MASKER
from q2v.output.screen.wrapping import split_words, terminal_width, wrapped
from q2v.output.terminal import escape_terminal, write_text

_PASTED = ("next: q2v ", "  wrangler ")  # commands that are alone on their line
_INDENT = "  "  # of the second line of a text
_UNIT = 1_000
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_SECONDS_WITH_FRACTION_MAX = 10
_TENS_SHOWN_MAX_S = 180
_FOUND_LENGTH_MAX = 60
_NUMBER_BITS_SHOWN_MAX = 200  # 2^200 has 61 digits; Python prints no number of 4,301 digits


Cell = str | int | float | None


def format_reasons(counts: Mapping[str, int]) -> str:
    """How many points are left out, and for which reasons: `5 (kv_key 5)`."""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
    return f"{sum(counts.values()):,}" + (f" ({reasons})" if reasons else "")


def elsewhere_cells(elsewhere: Mapping[str, int]) -> list[tuple[str, Cell]]:
    """How many points belong to each of the other indexes; no line where there is one index."""
    if not elsewhere:
        return []
    shown = ", ".join(f"{index} {points:,}" for index, points in elsewhere.items())
    return [("elsewhere", f"{sum(elsewhere.values()):,} of other vector indexes: {shown}")]


def render(
    document: Mapping[str, object],
    rows: Sequence[tuple[str, Cell]],
    *,
    as_json: bool,
    notes: Sequence[str] = (),
    width: int | None = None,
) -> None:
    """Write the result: `document` as JSON, or `rows` (label and value) with `notes` below.

    On a terminal both are wrapped at its width, or rows at `width` where that is given; never
    inside a command in backquotes.

    Whole numbers get thousands separators; ids and ordinals are therefore passed as text.
    The document may hold dataclasses, paths and tuples; a secret in it is an error.
    """
    if as_json:
        write_document(document)
        return
    column = max((len(label) for label, _ in rows), default=0)
    columns = terminal_width(sys.stdout) if width is None else width
    for label, cell in rows:
        _write_wrapped(f"{label:<{column}}  ", format_cell(cell), columns)
    for note in notes:
        # The notes of a caller that wraps by itself are wrapped already.
        _write_wrapped("", note, None if width else columns)


def _write_wrapped(label: str, text: str, columns: int | None) -> None:
    """A label and its text, in one line or in lines of at most `columns`.

    A command to be pasted stays on its line. A word that has no room beside the label stands below.
    """
    if columns is None or len(label) + len(text) <= columns or text.startswith(_PASTED):
        write_line(label + text)
        return
    text = escape_terminal(text)
    indent = " " * len(label) if label else "  "
    longest = max(map(len, split_words(text)), default=0)
    if label and longest > columns - len(indent):
        write_line(label.rstrip())
        label = indent = "  "
    for line in wrapped(text, first=label, then=indent, width=columns):
        write_line(line)


def write_line(text: str) -> None:
    """One line on stdout, without secrets or control characters."""
    write_text(sys.stdout, escape_terminal(PROCESS_MASKER.mask(text)) + "\n")


def write_texts(texts: Iterable[str]) -> None:
    """Each text as lines within the terminal, of at most 80 on a pipe; a command stays whole."""
    for text in texts:
        lines = [text] if text.startswith(_PASTED) else wrapped(escape_terminal(text), then=_INDENT)
        for line in lines:
            write_line(line)


def write_document(document: Mapping[str, object]) -> None:
    """The one JSON document of a command, on one line of ASCII. A second one is a bug."""
    invocation = current_invocation()
    assert not invocation.document_written, "a second JSON document"
    # Set before the write: after a broken one, another document would not help the reader.
    text = encode_document(document)
    invocation.document_written = True
    write_text(sys.stdout, text)


def encode_document(document: Mapping[str, object]) -> str:
    """The document as text, secrets masked; raises TypeError or ValueError if it is not JSON."""
    # Through JSON once before masking, so that dataclasses and paths are texts by then.
    plain = json.loads(json.dumps(document, default=_plain, allow_nan=False))
    return json.dumps(PROCESS_MASKER.mask_values(plain), allow_nan=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def format_cell(cell: Cell) -> str:
    """A value for people; None is a dash."""
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case int():
            return format_count(cell)
        case float():
            return f"{cell:,.2f}"
        case _:
            return cell


def format_value(value: object, unit: str = "") -> str:
    """A value of a setting: 900 seconds, 1 second, true, a, b; of a place or a path its text."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            # `repr` would say 900.0 and 1e+16.
            number = f"{value:,.15g}" if isinstance(value, float) else f"{value:,}"
            return f"{number} {unit.removesuffix('s') if value == 1 else unit}".rstrip()
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case _:
            return str(value) or '""'


def format_found(value: object) -> str:
    """A refused value in the notation of JSON and TOML, cut to a readable length."""
    match value:
        case Mapping():
            return "a table"
        case int() if value.bit_length() > _NUMBER_BITS_SHOWN_MAX:
            return f"a number of more than {_FOUND_LENGTH_MAX} digits"
        case bool() | int() | float() | str() | list():
            text = json.dumps(value, default=str)
        case _:
            text = str(value)
    return text if len(text) <= _FOUND_LENGTH_MAX else f"{text[:_FOUND_LENGTH_MAX]}..."


def format_count(count: int) -> str:
    """12,345."""
    return f"{count:,}"


def format_bytes(size: int) -> str:
    """999 B, 1.2 MB: decimal units, as disks and the target's limits are given."""
    value, unit = float(size), _BYTE_UNITS[0]
    for larger in _BYTE_UNITS[1:]:
        # What would be shown as 1000.0 belongs to the next unit.
        if round(value, 1) < _UNIT:
            break
        value, unit = value / _UNIT, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def format_about(seconds: float) -> str:
    """What an estimate is worth: 40 s, 1 min 20 s, 4 min, 2 h 5 min."""
    if round(seconds) < _MINUTE_S:
        return f"{round(seconds)} s"
    step_s = 10 if seconds < _TENS_SHOWN_MAX_S else _MINUTE_S
    return format_duration(step_s * round(seconds / step_s)).replace(" min 0 s", " min")


def format_duration(seconds: float) -> str:
    """0.4 s, 59 s, 3 min 20 s, 2 h 5 min, 1 d 3 h."""
    if round(seconds, 1) < _SECONDS_WITH_FRACTION_MAX:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"
