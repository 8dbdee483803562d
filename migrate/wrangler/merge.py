"""Merge the bindings into the text of a wrangler.toml, wrangler.json or wrangler.jsonc.

Only values of these entries are replaced, and only these entries and their members are added:
every other byte is kept. Decision 0040.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Iterator

from migrate.errors import PreconditionError, UsageError
from migrate.words import counted
from migrate.wrangler.bindings import Bindings, Members
from migrate.wrangler.document import Document, Entry
from migrate.wrangler.jsonc_document import JsoncDocument
from migrate.wrangler.nodes import Path, Scalar, Text, refused
from migrate.wrangler.splices import Splice, apply
from migrate.wrangler.toml_document import TomlDocument

ENDINGS = (".toml", ".json", ".jsonc")
_HINT = "name, main and compatibility_date of the Worker belong here as well"


def merge_bindings(
    content: bytes | None, bindings: Bindings, *, file: str, env: str | None
) -> bytes:
    """The content of the file with the bindings; the same bytes if it has them already.

    `content` None makes a new file. `file` is its name, which has one of `ENDINGS`. `env` is the
    environment that gets the bindings; None is the top level. An entry that has the name of a
    binding gets the new values.

    Raises UsageError for a file that wrangler could not read, with line and column, or that has no
    such environment; PreconditionError where the name of a binding is taken by something else.
    """
    mark, source = _decoded(_skeleton(file, env) if content is None else content, file)
    expected = _open(source).values
    if env is not None:
        _check_environment(expected, env, file)
    scope = () if env is None else ("env", env)
    _check_names(_table(expected, scope), bindings, file)
    for name, members in bindings.entries():
        _expect(_table(expected, scope), name, members, file)
    try:
        for name, members in bindings.entries():
            source = _merged(source, (*scope, name), members)
        is_right = _open(source).values == expected
    except UsageError:  # the file was valid before
        is_right = False
    if not is_right:
        raise PreconditionError(
            f"{file}: the bindings cannot be added without changing something else",
            remedy="add them by hand: `q2v provision` without --wrangler prints them; nothing has "
            "been written",
        )
    return mark + source.text.encode()


def _skeleton(file: str, env: str | None) -> bytes:
    """A file without bindings."""
    if file.endswith(".toml"):
        header = "" if env is None else f"[env.{env}]\n"
        return f"# {_HINT}\n{header}".encode()
    hint = f"  // {_HINT}\n" if file.endswith(".jsonc") else ""
    inside = "" if env is None else f'  "env": {{\n    "{env}": {{}}\n  }}\n'
    return f"{{\n{hint}{inside}}}\n".encode()


def _decoded(content: bytes, file: str) -> tuple[bytes, Text]:
    """The byte order mark, if any, and the text."""
    mark = BOM_UTF8 if content.startswith(BOM_UTF8) else b""
    content = content[len(mark) :]
    try:
        return mark, Text(content.decode(), file)
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode()) + 1
        raise refused(
            file, f"line {line}, column {column}", "a byte that is not UTF-8", "text in UTF-8"
        ) from error


def _open(source: Text) -> Document:
    return TomlDocument(source) if source.file.endswith(".toml") else JsoncDocument(source)


def _check_environment(values: dict[str, object], env: str, file: str) -> None:
    found = values.get("env", {})
    if not isinstance(found, dict) or not isinstance(found.get(env), dict):
        names = ", ".join(found) if isinstance(found, dict) and found else "none"
        raise UsageError(
            f"--env {env}: found these environments in {file}: {names}",
            remedy=f"correct --env, or add the environment to the file, as [env.{env}] in TOML",
        )


def _table(values: dict[str, object], path: Path) -> dict[str, object]:
    """The table that gets the bindings."""
    for key in path:
        inner = values[key]
        assert isinstance(inner, dict)
        values = inner
    return values


def _check_names(scope: dict[str, object], bindings: Bindings, file: str) -> None:
    """Raises PreconditionError when something of another kind has the name of a binding."""
    for kind, members in bindings.entries():
        name = members["binding"]
        for other, found in _named(scope):
            if found == name and other != kind:
                raise PreconditionError(
                    f"{file}: the name {name} is taken by {other}, expected it to be free or a "
                    f"binding in {kind}",
                    remedy="choose another name: target.vector_binding, target.kv_binding; "
                    "nothing has been written",
                )


def _named(scope: dict[str, object]) -> Iterator[tuple[str, object]]:
    """What the Worker sees by name: the part of the file, and the name."""
    variables = scope.get("vars")
    for name in variables if isinstance(variables, dict) else ():
        yield "vars", name
    objects = scope.get("durable_objects")
    listed = objects.get("bindings") if isinstance(objects, dict) else None
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            yield "durable_objects", one.get("name")
    for part, value in scope.items():
        if part != "env":
            yield from ((part, name) for name in _bindings_in(value))


def _bindings_in(value: object) -> Iterator[object]:
    inner: list[object] = []
    if isinstance(value, dict):
        inner = list(value.values())
        yield value.get("binding")
    elif isinstance(value, list):
        inner = value
    for one in inner:
        yield from _bindings_in(one)


def _expect(scope: dict[str, object], name: str, members: Members, file: str) -> None:
    """Put the entry into the values. Raises UsageError for a list that wrangler would not take."""
    listed = scope.setdefault(name, [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise UsageError(
            f"{file}: {name} is not a list of tables",
            remedy=f"correct {name} as wrangler's documentation says; nothing has been written",
        )
    same = [one for one in listed if one.get("binding") == members["binding"]]
    if len(same) > 1:
        raise UsageError(
            f"{file}: {counted(len(same), 'entry')} of {name} have the binding "
            f"{members['binding']}",
            remedy="remove all but one; nothing has been written",
        )
    if same:
        same[0].update(members)
    else:
        listed.append(dict(members))


def _merged(source: Text, path: Path, members: Members) -> Text:
    """The text with one entry."""
    document = _open(source)
    entry = next(
        (one for one in document.entries(path) if _text_of(one, "binding") == members["binding"]),
        None,
    )
    if entry is None:
        return _with(source, document.add_entry(path, members))
    changed = [key for key in members if key in entry.members]
    splices = [
        Splice(node.start, node.end, json.dumps(members[key]))
        for key in changed
        if isinstance(node := entry.members[key], Scalar) and node.value != members[key]
    ]
    source = _with(source, sorted(splices, key=lambda splice: splice.start))
    for key in (key for key in members if key not in changed):
        source = _with(source, _open(source).add_member(path, entry.ordinal, key, members[key]))
    return source


def _text_of(entry: Entry, key: str) -> object:
    node = entry.members.get(key)
    return node.value if isinstance(node, Scalar) else None


def _with(source: Text, splices: list[Splice]) -> Text:
    return Text(apply(source.text, splices), source.file)


def environments_without(content: bytes, bindings: Bindings, *, file: str) -> tuple[str, ...]:
    """The environments of a valid file that do not have all bindings: they inherit none."""
    _, source = _decoded(content, file)
    found = _open(source).values.get("env")
    return tuple(
        name
        for name, scope in (found.items() if isinstance(found, dict) else ())
        if isinstance(scope, dict)
        and not all(
            (members["binding"] in _bindings_in(scope.get(kind)))
            for kind, members in bindings.entries()
        )
    )
