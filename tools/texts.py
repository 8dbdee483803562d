"""Find the texts that an expression of the code can become, without running it.

A value that is known only at run time is a hole. Names are followed to what they were assigned,
calls to what the function returns, and parameters to what callers pass.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path

from migrate.words import counted, subject

HOLE = "..."
_SEVERAL = 2  # a count in the plural
_ALTERNATIVES_MAX = 24  # of one expression; with more it is a hole
_OF_VALUES = ("migrate/words.py", "q2v/output/render.py")  # their functions put values into words
_DEPTH_MAX = 4  # names and calls that are followed

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Module:
    """One module, its functions, and what the names at its top stand for."""

    path: Path
    tree: ast.Module
    functions: dict[str, list[Function]] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)  # name -> dotted module

    @property
    def means(self) -> str:
        """The first line of its docstring."""
        return (ast.get_docstring(self.tree) or "").partition("\n")[0]


@dataclass(frozen=True)
class Place:
    """Where an expression stands."""

    module: Module
    function: Function | None
    depth: int = 0

    def deeper(self, module: Module | None = None, function: Function | None = None) -> "Place":
        """The same, one name or call further."""
        return Place(module or self.module, function, self.depth + 1)


@dataclass
class Code:
    """All modules of some packages."""

    modules: dict[str, Module] = field(default_factory=dict)
    calls: dict[str, list[tuple[Place, ast.Call]]] = field(default_factory=dict)  # by the name
    _found: dict[ast.expr, tuple[int, list[str]]] = field(default_factory=dict)  # by depth

    def texts(self, node: ast.expr, at: Place) -> list[str]:
        """Every text it can become, as far as that can be read from the code."""
        known = self._found.get(node)
        if known is not None and known[0] <= at.depth:
            return known[1]
        self._found[node] = at.depth, [HOLE]  # of a name that leads back here
        some = islice(self._texts(node, at), _ALTERNATIVES_MAX * 4)
        found = list(dict.fromkeys(some))
        found = found if 0 < len(found) <= _ALTERNATIVES_MAX else [HOLE]
        self._found[node] = at.depth, found
        return found

    def _texts(self, node: ast.expr, at: Place) -> Iterator[str]:
        match node:
            case ast.Constant(value=str() as text):
                yield text
            case ast.JoinedStr(values=parts):
                yield from self._joined(parts, at)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                yield from self._joined([left, right], at)
            case ast.Name() | ast.Subscript() | ast.Call() if at.depth < _DEPTH_MAX:
                yield from self._followed(node, at)
            case _:
                yield from self._chosen(node, at)

    def _chosen(self, node: ast.expr, at: Place) -> Iterator[str]:
        """One of several, or one that a condition takes or leaves."""
        some: list[ast.expr] = []
        match node:
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                some = [value]
            case ast.BinOp(left=left, op=ast.Mult()):
                yield ""
                some = [left]
            case ast.IfExp(body=body, orelse=orelse):
                some = [body, orelse]
            case ast.BoolOp(values=values):
                some = values
            case ast.NamedExpr(value=value):
                some = [value]
            case _:
                yield HOLE
        for one in some:
            yield from self.texts(one, at)

    def _followed(self, node: ast.expr, at: Place) -> Iterator[str]:
        """What a name, a table or a call gives."""
        match node:
            case ast.Name(id=name):
                yield from self._named(name, at)
            case ast.Subscript(value=ast.Name(id=name)):
                yield from self._table(name, at)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="get"), args=args):
                yield from self._table(name, at)
                for one in args[1:]:
                    yield from self.texts(one, at)
            case ast.Call(func=ast.Name(id="counted" | "subject")):
                yield _counted(node)
            case ast.Call(func=ast.Name(id=name)):
                yield from self._returned(name, at)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                yield from self._returned(name, at)
            case _:
                yield HOLE

    def _joined(self, parts: Sequence[ast.expr], at: Place) -> Iterator[str]:
        each = [self.texts(part, at) for part in parts]
        count = 1
        for number, texts in enumerate(each):
            count *= len(texts)
            if count > _ALTERNATIVES_MAX:
                each[number], count = [HOLE], count // len(texts)
        yield from ("".join(pieces) for pieces in product(*each))

    def _named(self, name: str, at: Place) -> Iterator[str]:
        if at.function is not None:
            assigned = list(_assigned(name, at.function))
            if assigned:
                here = at.deeper(function=at.function)
                yield from (text for value in assigned for text in self.texts(value, here))
                return
            if name in _parameters(at.function):
                yield from self._passed(name, at)
                return
        yield from self._constant(name, at)

    def _constant(self, name: str, at: Place) -> Iterator[str]:
        for value in self._top(name, at.module):
            yield from self.texts(value[1], at.deeper(module=value[0]))

    def _table(self, name: str, at: Place) -> Iterator[str]:
        for module, value in self._top(name, at.module):
            if isinstance(value, ast.Dict):
                here = at.deeper(module=module)
                yield from (text for one in value.values for text in self.texts(one, here))
                return
        yield HOLE

    def _top(self, name: str, module: Module) -> Iterator[tuple[Module, ast.expr]]:
        """What a name at the top of a module stands for, there or where it is imported from."""
        other = self.modules.get(module.imported.get(name, ""))
        if other is not None and other is not module:
            yield from self._top(name, other)
        for value in _assigned(name, module.tree):
            yield module, value

    def _returned(self, name: str, at: Place) -> Iterator[str]:
        other = self.modules.get(at.module.imported.get(name, ""), at.module)
        functions = [] if str(other.path) in _OF_VALUES else other.functions.get(name, [])
        for function in functions:
            here = at.deeper(module=other, function=function)
            for node in _own(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield from map(_worded, self.texts(node.value, here))
            return
        yield HOLE

    def _passed(self, name: str, at: Place) -> Iterator[str]:
        """What callers pass for a parameter."""
        assert at.function is not None
        position = _position(name, at.function)
        yield from _defaults(name, at.function)
        for place, call in self.calls.get(at.function.name, []):
            if place.function is at.function or not self._reaches(place, call, at):
                continue
            for value in _argument(name, position, call):
                here = Place(place.module, place.function, at.depth + 1)
                yield from map(_worded, self.texts(value, here))

    @staticmethod
    def _reaches(place: Place, call: ast.Call, at: Place) -> bool:
        """Whether a call by this name may be one of this function."""
        assert at.function is not None
        if isinstance(call.func, ast.Attribute):
            return True
        name = at.function.name
        is_here = place.module is at.module
        return is_here or place.module.imported.get(name) == _dotted(at.module.path)


def own_text(node: ast.expr) -> str:
    """The text as it stands there, with a hole for each value."""
    match node:
        case ast.FormattedValue(value=ast.Call() as call):
            return _counted(call)
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(own_text, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return own_text(left) + own_text(right)
        case _:
            return HOLE


def _counted(call: ast.expr) -> str:
    """`... vectors` for `counted(number, "vector")`, `... vectors are` for `subject(...)`."""
    match call:
        case ast.Call(
            func=ast.Name(id="counted"), args=[_, ast.Constant(value=str() as noun), *rest]
        ) if not rest:
            return counted(_SEVERAL, noun).replace(str(_SEVERAL), HOLE)
        case ast.Call(
            func=ast.Name(id="subject"),
            args=[_, ast.Constant(value=str() as noun), ast.Constant(value=str() as verb)],
        ):
            return subject(_SEVERAL, noun, verb).replace(str(_SEVERAL), HOLE)
        case _:
            return HOLE


def read_code(root: Path, packages: Sequence[str]) -> Code:
    """Parse every module of these packages."""
    code = Code()
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            module = Module(path.relative_to(root), tree)
            code.modules[_dotted(module.path)] = module
            _index(module, code)
    return code


def _index(module: Module, code: Code) -> None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            module.imported |= {one.asname or one.name: node.module for one in node.names}
        if isinstance(node, Function):
            module.functions.setdefault(node.name, []).append(node)
    for place, node in _walk(module):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            code.calls.setdefault(str(name), []).append((place, node))


def _walk(module: Module) -> Iterator[tuple[Place, ast.AST]]:
    """Every node with the innermost function it stands in."""

    def below(node: ast.AST, function: Function | None) -> Iterator[tuple[Place, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            yield Place(module, function), child
            yield from below(child, child if isinstance(child, Function) else function)

    yield from below(module.tree, None)


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function or module, without those of functions in it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, Function | ast.Lambda):
            yield from _own(child)


def _assigned(name: str, scope: ast.AST) -> Iterator[ast.expr]:
    for node in _own(scope):
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from (found for each in targets for found in _taken(name, each, value))
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield from _taken(name, target, value)
            case ast.AugAssign(target=ast.Name(id=found), value=value) if found == name:
                yield value
            case ast.NamedExpr(target=ast.Name(id=found), value=value) if found == name:
                yield value
            case ast.For(target=ast.Name(id=found), iter=ast.Tuple(elts=values)) if found == name:
                yield from values
            case _:
                pass


def _taken(name: str, target: ast.expr, value: ast.expr) -> Iterator[ast.expr]:
    match target, value:
        case ast.Name(id=found), _ if found == name:
            yield value
        case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
            for one, its in zip(targets, values, strict=True):
                yield from _taken(name, one, its)
        case _:
            pass


def _parameters(function: Function) -> list[str]:
    named = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return [each.arg for each in named]


def _position(name: str, function: Function) -> int | None:
    """The place of a parameter among the values of a call; None: by its name only."""
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    return names.index(name) if name in names else None


def _argument(name: str, position: int | None, call: ast.Call) -> list[ast.expr]:
    by_name = [one.value for one in call.keywords if one.arg == name]
    if by_name or position is None or position >= len(call.args):
        return by_name
    return [call.args[position]]


def _defaults(name: str, function: Function) -> Iterator[str]:
    for each, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if each.arg == name and isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def _worded(text: str) -> str:
    """A hole for what is a value: one word, or none."""
    is_template = "%(" in text
    return text if " " in text.replace(HOLE, "").strip() and not is_template else HOLE


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")
