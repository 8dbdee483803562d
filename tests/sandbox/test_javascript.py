"""The sandbox spells an answer as JavaScript does: as Node.js itself, for a list of doubles."""

import json
import math
import struct
from random import Random

from sandbox.exchange.javascript import number_text, stringify
from tests.harness.running.node import node_program
from tests.harness.running.programs import run_program

EDGES = [
    *(
        0.0,
        -0.0,
        1.0,
        -1.0,
        1.5e17,
        2.0**53,
        2.0**60,
        1e20,
        1e21,
        1e22,
        -1e21,
        1.2345678901234568e20,
    ),
    *(1e-6, 1e-7, 1.5e-7, 0.000123, 5e-324, 1.7976931348623157e308, 0.1, 1 / 3, 3.0, 100.0),
]


def test_numbers_are_spelt_as_node_spells_them() -> None:
    chance = Random(8)
    drawn = (struct.unpack("<d", chance.randbytes(8))[0] for _ in range(2_000))
    numbers = [*EDGES, *(one for one in drawn if math.isfinite(one))]
    program = "process.stdout.write(JSON.parse(process.argv[1]).map(String).join('\\n'))"
    done = run_program(node_program(), "-e", program, json.dumps(numbers))

    assert done.returncode == 0, done.stderr
    assert [number_text(number) for number in numbers] == done.stdout.split("\n")


def test_values_have_all_digits_of_their_doubles() -> None:
    answer = {"id": "a", "values": [0.1, 1.0], "metadata": {"n": 0.1, "far": 1.5e17, "b": [True]}}

    assert stringify(answer) == (
        '{"id":"a","values":[0.10000000149011612,1],'
        '"metadata":{"n":0.1,"far":150000000000000000,"b":[true]}}'
    )
