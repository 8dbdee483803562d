"""Where a field lies in a payload: `file_id`, `metadata.source`, `pages[0]`, `meta."a.b"`; pure."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache

Step = str | int  # a key of an object, or a position in a list
Path = tuple[Step, ...]

_STEP = re.compile(
    r'(?P<dot>\.?)(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<plain>[^."\[\]{}]+))'
    r"|\[(?P<position>0|[1-9][0-9]{0,8})\]"
)
FORM = (
    "a payload field, as file_id, metadata.source, pages[0], or a key that holds a dot in quotes; "
    "no { or }, no $ in front of a key, no blanks around one"
)


@lru_cache(maxsize=1024)  # the same few paths for every payload
def parse_path(text: str) -> Path | None:
    """The steps of a path; None for a text that is none."""
    steps: list[Step] = []
    end = 0
    while end < len(text):
        found = _STEP.match(text, end)
        if found is None:
            return None
        step = _step(found, is_first=not steps)
        if step is None:
            return None
        steps.append(step)
        end = found.end()
    return tuple(steps) or None


def _step(found: re.Match[str], *, is_first: bool) -> Step | None:
    if found["position"] is not None:
        return None if is_first else int(found["position"])
    if bool(found["dot"]) == is_first:  # a dot stands between two keys, and only there
        return None
    if found["quoted"] is not None:
        try:
            return str(json.loads(found["quoted"])) or None
        except json.JSONDecodeError:
            return None
    key = found["plain"]
    return key if key == key.strip() and not key.startswith("$") else None


def read_path(fields: Mapping[str, object], text: str, absent: object = None) -> object:
    """The value at a path, null as None; `absent` for a path that leads nowhere."""
    path = parse_path(text)
    return absent if path is None else read_steps(fields, path, absent)


def read_steps(fields: Mapping[str, object], path: Path, absent: object = None) -> object:
    """As `read_path`."""
    value: object = fields
    for step in path:
        match value, step:
            case Mapping(), str() if step in value:
                value = value[step]
            case list(), int() if step < len(value):
                value = value[step]
            case _:
                return absent
    return value


def is_filterable(text: str) -> bool:
    """Whether a metadata index can have this path: keys and dots only."""
    path = parse_path(text)
    return path is not None and all(
        isinstance(one, str) and not set(one) & set('."') for one in path
    )


def format_path(path: Path) -> str:
    """The text of a path; the inverse of `parse_path`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if parse_path(step) == (step,) else json.dumps(step, ensure_ascii=False)
            text += f".{key}" if text else key
    return text
