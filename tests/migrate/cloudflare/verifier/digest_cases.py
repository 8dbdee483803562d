"""Seeded vectors as JSON text, as odd as a service may print them, for both digests to agree on."""

import json
import math
import random
import struct
from collections.abc import Callable, Iterator

NUMBERS_PER_VECTOR = 1_000
DEPTH_MAX = 20
_TWICE_ROUNDED = (0x15AE43FD, 0x15AE43FE, 0x95AE43FD, 0x95AE43FE)
_ODD_BITS = (0, 0x80000000, 1, 0x80000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF)
_THRESHOLDS = (1e16, 1e15, 1e17, 1e21, 1e-5, 1e-6, 1e-7, 2.0**53, 2.0**63, 2.0**64, 1.0, 0.1, 1e22)
_CHARACTERS = [
    *map(chr, range(0x80)),
    *"\u00e9\u0301\u00c5\u212b\ufb01\u2028\u2029\u007f\u0080\u00ad\u200b\ue000\uf8ff\ufffd\uffff",
    *"\U00010000\U0001d435\U0001f5c2\U0010ffff日本語ß",
]
_NAMESPACES = ["null", '""', '"elsewhere"', '"ß"']
_LONE = ["\ud800", "\udbff", "\udc00", "\udfff"]
_KEYS = [
    *("__proto__", "constructor", "toString", "hasOwnProperty", "", "0", "10", "2", "-1", "a", "B"),
    *("\u00e9", "e\u0301", "\U0001d435", "\ufffd", "\ue000", "\uffff", "key", "a.b", "$x", "\n"),
]


def number_vectors(seed: int, numbers: int) -> Iterator[str]:
    """Vectors with this number of numbers in their metadata, 1,000 each, one JSON text each."""
    chance = random.Random(seed)
    for ordinal in range(math.ceil(numbers / NUMBERS_PER_VECTOR)):
        texts = ",".join(_number_text(chance) for _ in range(NUMBERS_PER_VECTOR))
        yield f'{{"id":"n{ordinal}","values":[1],"metadata":{{"n":[{texts}]}}}}'


def hard_vectors(seed: int, count: int) -> Iterator[str]:
    """Vectors with odd values, metadata, namespaces and ids, one JSON text each."""
    chance = random.Random(seed)
    for ordinal in range(count):
        json_texts = _JsonTexts(chance)
        members = [
            f'"id":{json_texts.of_text(_id(chance, ordinal))}',
            f'"values":[{",".join(_value_text(chance) for _ in range(chance.randint(1, 40)))}]',
        ]
        if chance.random() < 0.2:
            members.append(f'"namespace":{chance.choice(_NAMESPACES)}')
        if chance.random() < 0.95:
            metadata = "null" if chance.random() < 0.05 else json_texts.of_object(0)
            members.append(f'"metadata":{metadata}')
        chance.shuffle(members)
        yield f"{{{','.join(members)}}}"


def _id(chance: random.Random, ordinal: int) -> str:
    return "".join(chance.choices(_CHARACTERS[32:], k=chance.randint(0, 10))) + f"_{ordinal}"


def _value_text(chance: random.Random) -> str:
    """A number that is read as a float32."""
    pick = chance.random()
    if pick < 0.1:
        bits = chance.choice(_TWICE_ROUNDED)
    elif pick < 0.3:
        bits = chance.choice(_ODD_BITS)
    else:
        bits = chance.getrandbits(32)
    if bits & 0x7F800000 == 0x7F800000:  # infinite, or no number
        bits &= 0x807FFFFF
    value: float = struct.unpack("<f", struct.pack("<I", bits))[0]
    pick = chance.random()
    if pick < 0.15:
        return f"{value:.9g}"
    if pick < 0.25:
        return f"{value:.17e}"
    if pick < 0.35:
        # A double between two float32 values, the exact middle among them.
        other = struct.unpack("<f", struct.pack("<I", bits ^ 1))[0]
        middle = (value + other) / 2
        return repr(chance.choice([middle, math.nextafter(middle, other)]))
    if pick < 0.4 and value in {7.038530691851209e-26, 7.0385313081487913e-26}:
        return "7.038531e-26"
    return repr(value)


def _number_text(chance: random.Random) -> str:
    """A finite double in one of its spellings."""
    while True:
        number = chance.choice(_KINDS)(chance)
        if math.isfinite(number):
            return _spelled(chance, number)


def _spelled(chance: random.Random, number: float) -> str:
    pick = chance.random()
    if pick < 0.7:
        return repr(number)
    if pick < 0.8:
        return f"{number:.17e}".replace("e", chance.choice("eE"))
    if number.is_integer() and abs(number) < 1e25:
        return str(int(number) + (chance.randint(0, 3) if abs(number) >= 2**53 else 0))
    return f"{number:.17g}"


def _random_bits(chance: random.Random) -> float:
    number: float = struct.unpack("<d", chance.getrandbits(64).to_bytes(8, "little"))[0]
    return number


def _near_a_threshold(chance: random.Random) -> float:
    number = chance.choice(_THRESHOLDS)
    for _ in range(chance.randint(0, 4)):
        number = math.nextafter(number, chance.choice([math.inf, 0.0]))
    return number * chance.choice([1, -1])


def _float32(chance: random.Random) -> float:
    number: float = struct.unpack("<f", chance.getrandbits(32).to_bytes(4, "little"))[0]
    return number


_KINDS: tuple[Callable[[random.Random], float], ...] = (
    _random_bits,
    _near_a_threshold,
    _float32,
    lambda chance: round(chance.uniform(-1e6, 1e6), chance.randint(0, 8)),
    lambda chance: float(chance.randint(-(2**54), 2**54)),
    lambda chance: float(f"{chance.randint(-999, 999)}e{chance.randint(-324, 305)}"),
    lambda chance: chance.choice([0.0, -0.0, 1.0, -1.0, 5e-324, 1.7976931348623157e308]),
    lambda chance: float(chance.randint(-1000, 1000)),
)


class _JsonTexts:
    """JSON values of one vector as text, all spelled in one way."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._escaped = chance.random() < 0.3
        # Surrogates that are alone: the service refuses them, and the mapping too. Beside them
        # Python spells a small number in another way, so there are none.
        self._lone = _LONE * (chance.random() < 0.05)

    def of_object(self, depth: int) -> str:
        """An object, keys in no order."""
        keys = list(dict.fromkeys(self._key() for _ in range(self._chance.randint(0, 6))))
        inner = [f"{self.of_text(key)}:{self.of_value(depth + 1)}" for key in keys]
        return f"{{{','.join(inner)}}}"

    def of_value(self, depth: int) -> str:
        """Any value."""
        chance = self._chance
        pick = chance.random()
        if pick < 0.2 and depth < DEPTH_MAX:
            return self.of_object(depth)
        if pick < 0.3 and depth < DEPTH_MAX:
            inner = ",".join(self.of_value(depth + 1) for _ in range(chance.randint(0, 4)))
            return f"[{inner}]"
        if pick < 0.55:
            return str(chance.randint(-9, 9)) if self._lone else _number_text(chance)
        if pick < 0.65:
            return chance.choice(["null", "true", "false"])
        return self.of_text(
            "".join(chance.choices(_CHARACTERS + self._lone, k=chance.randint(0, 12)))
        )

    def of_text(self, text: str) -> str:
        """A string; surrogates that are alone are always escaped."""
        if self._escaped or any("\ud800" <= character <= "\udfff" for character in text):
            return json.dumps(text)
        spelled = json.dumps(text, ensure_ascii=False)
        return spelled.replace("/", "\\/") if self._chance.random() < 0.1 else spelled

    def _key(self) -> str:
        chance = self._chance
        if chance.random() < 0.7:
            return chance.choice(_KEYS)
        return "".join(chance.choices(_CHARACTERS + self._lone, k=chance.randint(0, 4)))
