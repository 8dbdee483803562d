"""Configuration files of every form that wrangler takes, and what other readers find in them."""

import json
import random
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from migrate.wrangler.bindings import Bindings

WANTED = Bindings(vector_index="chunks-2026-11", kv_namespace_id="0" * 32, kv_preview_id="f" * 32)
OTHERS = Bindings(vector_index="elsewhere", kv_namespace_id="1" * 32, kv_preview_id="2" * 32)
SEVERAL = Bindings(
    vector_index="wiki-0", shards=("wiki-0", "wiki-1", "wiki-2"), kv_namespace_id="0" * 32
)
ENVIRONMENTS = ("production", "staging")
_KEYS = ("name", "main", "compatibility_date", "workers_dev", "x-y", "ä b", 'q"')
_TEXTS = ("", "reader", "// none", "# none", '"q"', "[x]", "{,}", "a\\b", "größe", "*/ , ]", "'")
_COMMENTS = (" a comment", " [vectorize]", ' "id": "x",', " ]}", "", " größe")
_LISTS = ("vectorize", "kv_namespaces", "d1_databases")

Values = dict[str, Any]


def merged_values(values: Values, bindings: Bindings, env: str | None) -> Values:
    """What a file has to hold after the merge."""
    copied: Values = json.loads(json.dumps(values))
    scope = copied if env is None else copied["env"][env]
    for name, members in bindings.entries():
        entries = scope.setdefault(name, [])
        same = [one for one in entries if one.get("binding") == members["binding"]]
        if same:
            same[0].update(members)
        else:
            entries.append(dict(members))
    return copied


_JSONC_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*|/\*.*?\*/', re.DOTALL)
_TOML_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|' r"'''.*?'''|" r'"(?:[^"\\]|\\.)*"|' r"'[^'\n]*'|#[^\r\n]*", re.DOTALL
)


def jsonc_comments(text: str) -> list[str]:
    """The comments, in order."""
    return [found for found in _JSONC_TOKEN.findall(text) if not found.startswith('"')]


def toml_comments(text: str) -> list[str]:
    """The comments, in order."""
    return [found for found in _TOML_TOKEN.findall(text) if found.startswith("#")]


def jsonc_values(text: str) -> Values:
    """The values, by Python's own reader after comments and trailing commas are taken out."""
    texts: list[str] = []

    def kept(found: re.Match[str]) -> str:
        if not found[0].startswith('"'):
            return " "
        texts.append(found[0])
        return f"@{len(texts) - 1}@"

    bare = re.sub(r",(\s*[\]}])", r"\1", _JSONC_TOKEN.sub(kept, text))
    values: Values = json.loads(re.sub(r"@(\d+)@", lambda found: texts[int(found[1])], bare))
    return values


def toml_values(text: str) -> Values:
    """The values, by the standard library."""
    return tomllib.loads(text)


class _Author:
    """Makes up a configuration, and writes it in a style of its own. The same for one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._line_end = self.one_of(["\n", "\r\n"])

    def one_of(self, choices: Iterable[str]) -> str:
        return self._random.choice(list(choices))

    def happens(self) -> bool:
        return self._random.random() < 0.5

    def values(self) -> Values:
        """Some lists hold bindings, those of the target among them."""
        values = self._scope()
        names = self._random.sample(ENVIRONMENTS, len(ENVIRONMENTS))
        return values | {"env": {name: self._scope() for name in names}}

    def _scope(self) -> Values:
        found: Values = {
            key: self._random.choice([self.one_of(_TEXTS), self._random.randint(-9, 9), True])
            for key in self._random.sample(_KEYS, self._random.randint(0, 3))
        }
        own = {name: members["binding"] for name, members in WANTED.entries()}
        for name in self._random.sample(_LISTS, self._random.randint(0, 3)):
            bindings = self._random.sample(["A", "B"], self._random.randint(0, 2))
            if name in own and self.happens():
                bindings.insert(self._random.randint(0, len(bindings)), own[name])
            found[name] = [{"binding": binding} | self._members() for binding in bindings]
        if self.happens():
            found["vars"] = {self.one_of(_KEYS): self.one_of(_TEXTS) for _ in range(2)}
        return found

    def _members(self) -> Values:
        keys = self._random.sample(["index_name", "id", "preview_id", "remote"], 2)
        return {key: True if key == "remote" else self.one_of(_TEXTS) for key in keys}

    # --- JSON with comments ----------------------------------------------------------------------

    def jsonc(self, value: object) -> str:
        """The value between comments and blanks."""
        if isinstance(value, dict):
            items = [
                f"{json.dumps(key)}{self._trivia()}:{self._trivia()}{self.jsonc(inner)}"
                for key, inner in value.items()
            ]
            return self._between("{", items, "}")
        if isinstance(value, list):
            return self._between("[", [self.jsonc(one) for one in value], "]")
        return json.dumps(value, ensure_ascii=self.happens())

    def _between(self, begin: str, items: list[str], end: str) -> str:
        text = begin + self._trivia()
        for number, item in enumerate(items):
            comma = "," if number + 1 < len(items) or self.happens() else ""
            text += f"{self._trivia()}{item}{self._trivia()}{comma}{self._trivia()}"
        return text + end

    def _trivia(self) -> str:
        comment = self.one_of(_COMMENTS)
        forms = [f"//{comment}{self._line_end}", f"/*{comment}*/", f"/*{comment}{self._line_end}*/"]
        blanks = ["", "", "", " ", "\t", self._line_end, f"{self._line_end}    "]
        return "".join(self.one_of([*forms, *blanks]) for _ in range(self._random.randint(0, 2)))

    # --- TOML ------------------------------------------------------------------------------------

    def toml(self, values: Values) -> str:
        """The environments as sections, or as one value."""
        if self._random.random() < 0.2:
            top = {name: value for name, value in values.items() if name != "env"}
            return self._statement("env", self._inline(values["env"])) + self._table([], top)
        text = self._table([], {name: value for name, value in values.items() if name != "env"})
        for name, table in values["env"].items():
            text += f"{self._gap()}[env.{name}]{self._line_end}{self._table(['env', name], table)}"
        text += self._gap()
        return text.removesuffix(self._line_end) if self.happens() else text

    def _table(self, path: list[str], table: Values) -> str:
        """Its statements, then the sections below it."""
        here, below = "", ""
        for name, value in table.items():
            header = ".".join([*path, name])
            if isinstance(value, list) and value and self.happens():
                below += "".join(self._section(f"[[{header}]]", one) for one in value)
            elif isinstance(value, list):
                here += self._gap() + self._statement(name, self._array(value))
            elif isinstance(value, dict) and self.happens():
                below += self._section(f"[{header}]", value)
            elif isinstance(value, dict):
                here += self._gap() + self._statement(name, self._inline(value))
            else:
                here += self._gap() + self._statement(self._key(name), self._scalar(value))
        return here + below

    def _section(self, header: str, table: Values) -> str:
        lines = [self._statement(self._key(key), self._scalar(one)) for key, one in table.items()]
        body = "".join(f"{self._gap()}{line}" for line in lines)
        return f"{self._gap()}{self._blank()}{header}{self._blank()}{self._line_end}{body}"

    def _statement(self, key: str, value: str) -> str:
        end = f" #{self.one_of(_COMMENTS)}" if self.happens() else ""
        blanks = [self._blank() for _ in range(3)]
        return f"{blanks[0]}{key}{blanks[1]}={blanks[2]}{value}{end}{self._line_end}"

    def _gap(self) -> str:
        lines = [self.one_of(["", f"#{self.one_of(_COMMENTS)}"]) for _ in range(2)]
        kept = lines[: self._random.randint(0, 2)]
        return "".join(f"{self._blank()}{line}{self._line_end}" for line in kept)

    def _blank(self) -> str:
        return self.one_of(["", "", " ", "\t"])

    def _key(self, name: str) -> str:
        quoted = [json.dumps(name, ensure_ascii=False), f"'{name}'"]
        return self.one_of([name, *quoted] if re.fullmatch(r"[\w-]+", name, re.ASCII) else quoted)

    def _scalar(self, value: object) -> str:
        if not isinstance(value, str):
            return json.dumps(value)
        forms = [json.dumps(value, ensure_ascii=False)]
        if "'" not in value:
            forms += [f"'{value}'", f"'''{value}'''"]
        if '"' not in value and "\\" not in value:
            forms.append(f'"""{self._line_end}{value}"""')
        return self.one_of(forms)

    def _inline(self, table: Values) -> str:
        items = [
            f"{self._key(key)}{self._blank()}={self._blank()}{self._one_line(value)}"
            for key, value in table.items()
        ]
        return "{" + self._blank() + f"{self._blank()},{self._blank()}".join(items) + " }"

    def _one_line(self, value: object) -> str:
        if isinstance(value, dict):
            return self._inline(value)
        if isinstance(value, list):
            return "[" + ", ".join(map(self._one_line, value)) + "]"
        return json.dumps(value, ensure_ascii=False)

    def _array(self, entries: list[Values]) -> str:
        text = "[" + self._inside()
        for number, one in enumerate(entries):
            comma = "," if number + 1 < len(entries) or self.happens() else ""
            text += f"{self._inline(one)}{self._inside()}{comma}{self._inside()}"
        return text + "]"

    def _inside(self) -> str:
        comment = f" #{self.one_of(_COMMENTS)}{self._line_end}    "
        return self.one_of(["", " ", self._line_end, f"{self._line_end}  ", comment])


def _jsonc(seed: int) -> tuple[str, str]:
    author = _Author(seed)
    return "wrangler.jsonc", author.jsonc(author.values())


def _toml(seed: int) -> tuple[str, str]:
    author = _Author(seed)
    return "wrangler.toml", author.toml(author.values())


SEEDS = st.integers(0, 2**63)
# Name and text of a valid file, with `ENVIRONMENTS`.
files = st.one_of(SEEDS.map(_toml), SEEDS.map(_jsonc))
