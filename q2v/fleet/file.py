"""Read fleet.toml. Everything is checked before the first command is started."""

import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from migrate.errors import UsageError
from migrate.model.limits import REQUESTS_PER_WINDOW_MAX
from migrate.object_store.address import is_object_address
from migrate.storage.disk import disk
from migrate.storage.layout import BUDGET
from q2v.fleet.model import LOGS, Fleet, Move, Step
from q2v.fleet.steps import STEPS_DEFAULT, UNDOING, expand, parse_step, typed
from q2v.fleet.windows import EXPECTED, Window, parse_window
from q2v.invocation import Invocation
from q2v.output.render import format_found
from q2v.settings import Settings
from q2v.settings.loading import CONFIG_BYTES_MAX, make_settings, read_config, read_file

FLEET_NAME = "fleet.toml"
AT_ONCE_DEFAULT, AT_ONCE_MAX = 4, 64
TRIES_DEFAULT, TRIES_MAX = 3, 100
PAUSE_S_DEFAULT, PAUSE_S_MAX = 60.0, 3_600.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FLEET = {"at_once", "tries", "steps", "pause_s"}
_BUDGET = {"account_id", "requests_per_5min"}
_MOVE = {"name", "config", "steps", "tries", "after", "window", "dir"}


class _Table:
    """A table of the file, which names itself in every error."""

    def __init__(self, path: Path, name: str, content: object, known: set[str]) -> None:
        self._where, self._content = f"{path}: {name}", content
        if not isinstance(content, dict):
            heading, *_ = name.split()
            raise UsageError(
                f"{self._where}: found {format_found(content)}, expected a table",
                remedy=f"write {heading} on a line of its own, and its keys below it",
            )
        for key in content:
            if key not in known:
                nearest = get_close_matches(key, sorted(known), n=1, cutoff=0.0)[0]
                raise UsageError(
                    f"{self._where}: found the unknown key {key}, expected one of "
                    f"{', '.join(sorted(known))}",
                    remedy=f"rename it to {nearest}, or remove it",
                )
        self._values: dict[str, Any] = content

    def has(self, key: str) -> bool:
        return key in self._values

    def refused(self, key: str, found: object, expected: str) -> UsageError:
        shown = "nothing" if found is None else format_found(found)
        return UsageError(
            f"{self._where}: {key}: found {shown}, expected {expected}",
            remedy=f"correct {key} there",
        )

    def said(self, key: str, what: str) -> UsageError:
        """An error whose text says what was found and expected."""
        return UsageError(f"{self._where}: {key}: {what}", remedy=f"correct {key} there")

    def because(self, key: str, error: UsageError) -> UsageError:
        """The error of a file that a key names, with the place of the key."""
        return UsageError(f"{self._where}: {key}: {error}", remedy=error.remedy)

    def text(self, key: str, default: str | None = None) -> str:
        found = self._values.get(key, default)
        if not isinstance(found, str) or not found:
            raise self.refused(key, found, "a text")
        return found

    def path(self, key: str, *, within: Path) -> Path:
        """A path of this machine, from the folder of the file where it is not a whole one."""
        found = self.text(key)
        if is_object_address(found):
            raise self.refused(key, found, "a path of this machine")
        if not found.isprintable():
            raise self.refused(key, found, "a path without control characters")
        return within / found

    def number(self, key: str, default: float, *, least: float, most: float) -> float:
        found: Any = self._values.get(key, default)
        is_whole = isinstance(default, int)
        is_number = isinstance(found, int if is_whole else int | float)
        if is_number and not isinstance(found, bool) and least <= found <= most:
            return float(found)
        kind = "whole number" if is_whole else "number"
        raise self.refused(key, found, f"a {kind} from {least:g} to {most:g}")

    def texts(self, key: str, default: Iterable[str]) -> list[str]:
        found = self._values.get(key, list(default))
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise self.refused(key, found, 'a list of texts, as ["snapshot", "migrate"]')
        return found


def read_fleet(path: Path, directory: Path, *, steps: tuple[str, ...] = ()) -> Fleet:
    """The fleet of a file. `steps` take the place of those of every move.

    Raises UsageError that names file, table and key.
    """
    document = _read(path)
    top = _Table(path, "the file", document, {"fleet", "budget", "move"})
    shared = _Table(path, "[fleet]", document.get("fleet", {}), _FLEET)
    tables = [
        _Table(path, f"[[move]] {number}", each, _MOVE)
        for number, each in enumerate(_list_of(top, document, "move"), 1)
    ]
    if not tables:
        raise UsageError(
            f"{path}: found no [[move]], expected at least one",
            remedy='add [[move]] and below it config = "docs.toml"',
        )
    budgets = _budgets(path, _list_of(top, document, "budget"))
    moves = tuple(_move(path, directory, shared, table, steps) for table in tables)
    fleet = Fleet(
        path=path,
        directory=directory,
        at_once=int(shared.number("at_once", AT_ONCE_DEFAULT, least=1, most=AT_ONCE_MAX)),
        pause_s=shared.number("pause_s", PAUSE_S_DEFAULT, least=0, most=PAUSE_S_MAX),
        moves=moves,
        budgets=budgets,
    )
    tables_of = dict(zip((move.name for move in moves), tables, strict=True))
    _check_together(fleet, tables_of)
    undoes = any(parse_step(text).command in UNDOING for text in steps)
    return replace(fleet, moves=_turned_round(moves)) if undoes else fleet


def _turned_round(moves: tuple[Move, ...]) -> tuple[Move, ...]:
    """What comes after another is undone before it."""
    return tuple(
        replace(move, after=tuple(one.name for one in moves if move.name in one.after))
        for move in moves
    )


def _read(path: Path) -> dict[str, Any]:
    content = _content(path)
    if content is None:
        raise UsageError(
            f"--file {path}: found no such file, expected a fleet.toml",
            remedy='write one: [[move]] and below it config = "docs.toml", for each move',
        )
    if isinstance(content, str):
        raise UsageError(
            f"--file {path}: found {content}, expected a fleet.toml",
            remedy="make it a regular file that this user can read, or name another one",
        )
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: found a syntax error ({error}), expected TOML",
            remedy="correct that line; texts need quotes",
        ) from error


def _content(path: Path) -> bytes | str | None:
    """The bytes of a file of the operator, which may be a link; a text says why there are none.

    None for no file.
    """
    try:
        with disk().open_to_read(path, follow_links=True) as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"that it cannot be read ({error.strerror})"
    return content if len(content) <= CONFIG_BYTES_MAX else f"more than {CONFIG_BYTES_MAX:,} B"


def _list_of(top: _Table, document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key, [])
    if not isinstance(found, list):
        raise top.refused(key, found, f"tables, each beginning with [[{key}]]")
    return found


def _budgets(path: Path, found: list[Any]) -> dict[str, int]:
    budgets: dict[str, int] = {}
    for number, each in enumerate(found, 1):
        table = _Table(path, f"[[budget]] {number}", each, _BUDGET)
        account = table.text("account_id")
        if account in budgets:
            raise table.refused("account_id", account, "each account once")
        if not table.has("requests_per_5min"):
            raise table.refused("requests_per_5min", None, "a whole number")
        budgets[account] = int(
            table.number("requests_per_5min", 0, least=1, most=REQUESTS_PER_WINDOW_MAX)
        )
    return budgets


def _move(
    path: Path, directory: Path, shared: _Table, table: _Table, typed: tuple[str, ...]
) -> Move:
    config = table.path("config", within=path.parent)
    content = _content(config)
    if not isinstance(content, bytes):
        found = content or "no such file"
        raise table.said("config", f"found {found} at {config}, expected a file as for --config")
    name = table.text("name", config.stem)
    if not _NAME.fullmatch(name) or name == LOGS:
        raise table.refused("name", name, f"letters, digits, - and _, at most 64, and not {LOGS}")
    default = int(shared.number("tries", TRIES_DEFAULT, least=1, most=TRIES_MAX))
    settings = _settings(config, table)
    steps = _steps(shared, table, typed)
    return Move(
        name=name,
        config=config,
        config_sha256=hashlib.sha256(content).hexdigest(),
        settings_sha256=_digest(read_config(config)),
        settings=settings,
        directory=table.path("dir", within=path.parent) if table.has("dir") else directory / name,
        steps=tuple(expand(steps, settings.target.shards)) if settings.target.shards else steps,
        tries=int(table.number("tries", default, least=1, most=TRIES_MAX)),
        after=tuple(table.texts("after", ())),
        window=_window(table),
    )


def _digest(sets: dict[str, object]) -> str:
    """Of what a settings file sets: the same for every order, and whatever its comments are."""
    text = json.dumps(sets, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _settings(config: Path, table: _Table) -> Settings:
    """The settings of a move, as a command with that --config would read them."""
    try:
        with click.Context(click.Command("fleet"), obj=Invocation()) as context:
            read_file(context, click.Option(["--config"]), config)
            settings = make_settings(context)
    except UsageError as error:
        raise table.because("config", error) from error
    lacking = [key for key in ("target.account_id",) if settings.value(key) is None]
    if settings.target.vector_index is None and not settings.target.shards:
        lacking.append("target.vector_index")
    if lacking:
        what = f"found no {lacking[0]} in {config}, expected it to be set there"
        raise table.said("config", what)
    return settings


def _steps(shared: _Table, table: _Table, typed: tuple[str, ...]) -> tuple[Step, ...]:
    origin = table if table.has("steps") else shared
    texts = list(typed) or origin.texts("steps", STEPS_DEFAULT)
    steps = []
    for text in texts:
        try:
            steps.append(parse_step(text))
        except ValueError as error:
            if typed:
                raise UsageError(
                    f"STEP: {error}", remedy='quote a step with its words: "rollback --execute"'
                ) from error
            raise origin.said("steps", str(error)) from error
    twice = [name for name, count in Counter(step.name for step in steps).items() if count > 1]
    if twice or not steps:
        found = f"{twice[0]!r} twice" if twice else "no step"
        raise origin.said("steps", f"found {found}, expected each step once")
    return tuple(steps)


def _window(table: _Table) -> Window | None:
    if not table.has("window"):
        return None
    text = table.text("window")
    try:
        return parse_window(text)
    except ValueError as error:
        raise table.said("window", f"found {text!r} ({error}), expected {EXPECTED}") from error


def _check_together(fleet: Fleet, tables: dict[str, _Table]) -> None:
    """What only shows when the moves are seen together."""
    moves = fleet.moves
    if len(tables) < len(moves):
        (name, _), *_ = Counter(move.name for move in moves).most_common(1)
        raise UsageError(
            f"{fleet.path}: found two moves of the name {name}, expected different names",
            remedy=f"give one of them another name: name = {format_found(f'{name}-2')}",
        )
    for number, move in enumerate(moves):
        table = tables[move.name]
        _check_not_ours(fleet, move, table)
        for other in moves[:number]:
            _check_apart(fleet, move, other, table)
        if fleet.budgets and move.account_id not in fleet.budgets:
            raise table.said(
                "config",
                f"found the account {move.account_id} in {move.config}, expected one that has a "
                "[[budget]]",
            )
        for name in move.after:
            if name not in tables:
                raise table.refused("after", name, f"a name of a move: {', '.join(tables)}")
        _check_no_cycle(move, {each.name: each for each in moves}, table)
    unused = fleet.budgets.keys() - {move.account_id for move in moves}
    if unused:
        raise UsageError(
            f"{fleet.path}: [[budget]]: found the account {min(unused)}, expected the account of "
            "a move",
            remedy="correct account_id there, or remove the table",
        )


def _check_not_ours(fleet: Fleet, move: Move, table: _Table) -> None:
    """Raises UsageError for a --dir that cannot be one, or is the fleet's and has its lock."""
    obstacle = _obstacle(move.directory)
    if obstacle is not None and table.has("dir"):
        raise table.refused("dir", str(move.directory), f"a folder ({obstacle})")
    if obstacle is not None:
        raise UsageError(
            f"--dir {fleet.directory}: found no place for {move.directory} ({obstacle}), expected "
            "a folder",
            remedy="name another folder with --dir",
        )
    ours, found = disk().absolute(fleet.directory), disk().absolute(move.directory)
    kept = [ours / name for name in (LOGS, BUDGET)]
    if found == ours or any(found == one or one in found.parents for one in kept):
        raise table.said(
            "dir",
            f"found {move.directory}, which the fleet itself uses, expected a folder of its own",
        )


def _obstacle(folder: Path) -> str | None:
    """Why no folder can be there; None when it is there, or can be made."""
    try:
        found = disk().absolute(folder)
        if disk().is_link(folder) and not disk().exists(folder):
            return "its link leads to nothing"
        there = next(place for place in (found, *found.parents) if disk().exists(place))
    except (OSError, RuntimeError) as error:  # a name that is too long; a circle of links
        return getattr(error, "strerror", None) or "its links lead in a circle"
    return None if disk().is_folder(there) else f"{there} is no folder"


def _check_apart(fleet: Fleet, move: Move, other: Move, table: _Table) -> None:
    """Raises UsageError for two moves that would write the same folder, index or keys."""
    if disk().absolute(move.directory) == disk().absolute(other.directory):
        raise table.said(
            "dir", f"found {move.directory}, as {other.name} has, expected a folder of its own"
        )
    if move.account_id != other.account_id:
        return
    both = set(move.indexes) & set(other.indexes)
    if both:
        key = "target.shards" if move.is_sharded else "target.vector_index"
        raise table.said(
            "config",
            f"found the vector index {min(both)} (from {move.settings.origin(key)}), as "
            f"{other.name} has, expected an index of its own",
        )
    namespace = _namespace(move)
    if namespace is None or namespace != _namespace(other):
        return
    keys, others = _key_beginnings(move.settings), _key_beginnings(other.settings)
    for key in keys:
        for another in others:
            if key.startswith(another) or another.startswith(key):
                raise table.said(
                    "config",
                    f"found KV keys that begin with {key!r} in namespace {namespace}, "
                    f"where those of {other.name} begin with {another!r}, expected other keys or "
                    "another namespace",
                )


def _namespace(move: Move) -> str | None:
    """The id of the KV namespace, or the title by which `provision` finds or makes it."""
    found = move.settings.target.kv_namespace_id
    made = [typed(step, "kv_title") for step in move.steps if step.command == "provision"]
    return found or next((title for title in made if title is not None), None)


def _key_beginnings(settings: Settings) -> list[str]:
    """What the keys of a move's entries begin with: the counter, and the files."""
    files = settings.kv.key_template.partition("{")[0]
    return [settings.kv.counter_key, files]


def _check_no_cycle(move: Move, moves: dict[str, Move], table: _Table) -> None:
    seen: set[str] = set()
    ahead = [(name, [move.name]) for name in move.after]
    while ahead:
        name, before = ahead.pop()
        if name == move.name:
            way = " after ".join([*before, name])
            raise table.said("after", f"found a circle ({way}), expected an order")
        if name in moves and name not in seen:
            seen.add(name)
            ahead += [(each, [*before, name]) for each in moves[name].after]
