"""Decode a pickled point without unpickling it: no name in it is looked up, no code is called.

A pickle is a program for a stack machine that may import and call anything. The machine here has
only the instructions that write values, and knows the classes of a point by their names. Whatever
else a pickle wants is refused.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np

MODELS = "qdrant_client.http.models.models"
POINT, SPARSE = "PointStruct", "SparseVector"
PROTOCOLS = (4, 5)
STATE = "__dict__"  # the fields of an instance, in the state that the client's models pickle
FLOAT = ord("G")
FLOAT_TYPE = np.dtype([("instruction", "u1"), ("value", ">f8")])  # packed: 9 bytes
FLOATS_AT_ONCE = 1000  # as many as Python writes between two other instructions
SCALARS = {str, int, float, bool, type(None)}
VALUES_PER_BYTE_MAX = 10  # of a pickle: more only when it refers to one container again and again


class NotAPointError(ValueError):
    """The content is no pickled point; the text says what was found in it."""


@dataclass(slots=True)
class Instance:
    """An object of one of the known classes."""

    kind: str  # POINT or SPARSE
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Class:
    name: str


_MARK = object()


def decode_pickled(content: bytes) -> object:
    """The pickled value: what JSON has, sets, and `Instance`.

    Raises NotAPointError for anything else, for a cut or damaged pickle, and for a value that
    contains itself.
    """
    try:
        value = _Machine(content).run()
    except (LookupError, TypeError, ValueError, struct.error, OverflowError) as error:
        if isinstance(error, NotAPointError):
            raise
        raise NotAPointError(f"it is cut or damaged ({error})") from error
    _check_tree(value, VALUES_PER_BYTE_MAX * len(content))
    return value


class _Machine:
    """The stack machine over one pickle."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0
        self._stack: list[object] = []
        self._memo: list[object] = []

    def run(self) -> object:
        """The value that is left at the end. Ends: every instruction takes at least a byte."""
        while True:
            instruction = self._content[self._position]
            self._position += 1
            if instruction == ord("."):
                (value,) = self._stack
                return value
            step = _STEPS.get(instruction)
            if step is None:
                raise NotAPointError(
                    f"instruction {instruction:#04x} at byte {self._position - 1}, which no point "
                    "needs"
                )
            step(self)

    def _take(self, count: int) -> bytes:
        taken = self._content[self._position : self._position + count]
        if len(taken) < count:
            raise NotAPointError("it is cut")
        self._position += count
        return taken

    def _number(self, layout: str) -> int:
        return cast(int, struct.unpack(layout, self._take(struct.calcsize(layout)))[0])

    def since_mark(self) -> list[object]:
        """The values above the last mark, which is removed with them."""
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise NotAPointError("it is cut or damaged (no mark)")
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def protocol(self) -> None:
        """Check the version of the pickle."""
        version = self._number("<B")
        if version not in PROTOCOLS:
            raise NotAPointError(f"protocol {version}, expected 4 or 5")

    def frame(self) -> None:
        """Pass over the length of a frame: the whole pickle is in memory."""
        self._take(8)

    def floats(self) -> None:
        """Push a float, and all floats that follow it."""
        start = self._position - 1
        whole = (len(self._content) - start) // FLOAT_TYPE.itemsize
        run = np.frombuffer(self._content, FLOAT_TYPE, min(whole, FLOATS_AT_ONCE), start)
        others = np.flatnonzero(run["instruction"] != FLOAT)
        run = run[: others[0]] if others.size else run
        if not run.size:
            raise NotAPointError("it is cut")
        self._stack += run["value"].tolist()
        self._position = start + run.size * FLOAT_TYPE.itemsize

    def text(self, layout: str) -> None:
        """Push a text whose length comes first."""
        self._stack.append(self._take(self._number(layout)).decode("utf-8", "surrogatepass"))

    def long(self) -> None:
        """Push an integer of up to 255 bytes."""
        self._stack.append(int.from_bytes(self._take(self._number("<B")), "little", signed=True))

    def push(self, make: Callable[[], object]) -> None:
        """Push a constant or an empty container."""
        self._stack.append(make())

    def number(self, layout: str) -> None:
        """Push an integer of a fixed length."""
        self._stack.append(self._number(layout))

    def memoize(self) -> None:
        """Remember the topmost value."""
        self._memo.append(self._stack[-1])

    def recall(self, layout: str) -> None:
        """Push a value that is remembered."""
        self._stack.append(self._memo[self._number(layout)])

    def append(self) -> None:
        """Append a value to the list below it."""
        value = self._stack.pop()
        self._list().append(value)

    def appends(self) -> None:
        """Append the values above the mark to the list below it."""
        values = self.since_mark()
        self._list().extend(values)

    def set_items(self, values: list[object]) -> None:
        """Put keys and values into the dict below them."""
        if type(self._stack[-1]) is not dict:
            raise NotAPointError("items for something that is no dict")
        target = cast(dict[object, object], self._stack[-1])
        target.update(zip(values[::2], values[1::2], strict=True))

    def set_item(self) -> None:
        """Put one key and one value into the dict below them."""
        pair = self._stack[-2:]
        del self._stack[-2:]
        self.set_items(pair)

    def add_items(self) -> None:
        """Add the values above the mark to the set below it."""
        values = self.since_mark()
        if type(self._stack[-1]) is not set:
            raise NotAPointError("members for something that is no set")
        cast(set[object], self._stack[-1]).update(values)

    def name_class(self) -> None:
        """Push one of the known classes, by its name. Nothing is imported."""
        name, module = self._stack.pop(), self._stack.pop()
        if module != MODELS or name not in {POINT, SPARSE}:
            raise NotAPointError(
                f"it wants {module!s:.80}.{name!s:.80}, which is no part of a point"
            )
        self._stack.append(_Class(name))

    def new_instance(self) -> None:
        """Push an empty instance of a class."""
        arguments, kind = self._stack.pop(), self._stack.pop()
        if arguments != () or not isinstance(kind, _Class):
            raise NotAPointError("an object that is no part of a point")
        self._stack.append(Instance(kind.name))

    def build(self) -> None:
        """Give the instance below a state its fields."""
        state, instance = self._stack.pop(), self._stack[-1]
        if not isinstance(instance, Instance) or not isinstance(state, dict):
            raise NotAPointError("a state for something that is no part of a point")
        instance.fields = cast(dict[str, object], state[STATE])

    def _list(self) -> list[object]:
        if type(self._stack[-1]) is not list:
            raise NotAPointError("values for something that is no list")
        return cast(list[object], self._stack[-1])


# The instructions that pickled points have; each is one byte.
_STEPS: dict[int, Callable[[_Machine], None]] = {
    0x80: _Machine.protocol,
    0x95: _Machine.frame,
    ord("("): lambda machine: machine.push(lambda: _MARK),
    ord("N"): lambda machine: machine.push(lambda: None),
    0x88: lambda machine: machine.push(lambda: True),
    0x89: lambda machine: machine.push(lambda: False),
    ord("]"): lambda machine: machine.push(list),
    ord("}"): lambda machine: machine.push(dict),
    ord(")"): lambda machine: machine.push(tuple),
    0x8F: lambda machine: machine.push(set),
    ord("K"): lambda machine: machine.number("<B"),
    ord("M"): lambda machine: machine.number("<H"),
    ord("J"): lambda machine: machine.number("<i"),
    0x8A: _Machine.long,
    FLOAT: _Machine.floats,
    0x8C: lambda machine: machine.text("<B"),
    ord("X"): lambda machine: machine.text("<I"),
    0x8D: lambda machine: machine.text("<Q"),
    0x94: _Machine.memoize,
    ord("h"): lambda machine: machine.recall("<B"),
    ord("j"): lambda machine: machine.recall("<I"),
    ord("a"): _Machine.append,
    ord("e"): _Machine.appends,
    ord("s"): _Machine.set_item,
    ord("u"): lambda machine: machine.set_items(machine.since_mark()),
    0x90: _Machine.add_items,
    0x93: _Machine.name_class,
    0x81: _Machine.new_instance,
    ord("b"): _Machine.build,
}


def _check_tree(value: object, values_max: int) -> None:
    """Raises NotAPointError for more values than `values_max`: a container that is in itself."""
    count = 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        parts: list[object] = []
        match one:
            case Instance():
                parts = list(one.fields.values())
            case dict():
                parts = list(one.values())
            case list():
                parts = one
        count += 1 + len(parts)
        if count > values_max:
            raise NotAPointError("a container that is in itself, or many times in another one")
        if not set(map(type, parts)) <= SCALARS:
            waiting += parts
