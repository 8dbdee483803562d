"""An answer as a service in JavaScript would spell it: `JSON.stringify` of the same values.

Every number is a double there. 1.0 is `1`, 1.5e17 is `150000000000000000`, -0.0 is `0`, 2**60 is
`1152921504606847000`, and a float32 value has all the digits of its double.
"""

import math
from decimal import Decimal

import numpy as np
import orjson
from starlette.responses import Response

from sandbox.exchange.answers import JSON, page

VALUES = "values"  # the member of a vector that is a Float32Array
WHOLE_DIGITS_MAX, ZEROS_MAX = 21, 6  # beyond these, before and after the point: an exponent


def respelt(response: Response) -> Response:
    """The same answer in the other spelling; one that is no JSON as it is."""
    if response.media_type != JSON or not response.body:
        return response
    try:
        value = orjson.loads(bytes(response.body))
    except orjson.JSONDecodeError:  # an answer that a fault has garbled
        return response
    return page(response.status_code, stringify(value).encode(errors="surrogatepass"), JSON)


def stringify(value: object) -> str:
    """`JSON.stringify`, for what JSON can hold."""
    match value:
        case bool() | None | str():
            return orjson.dumps(value).decode()
        case int() | float():
            return number_text(float(value))
        case list():
            return f"[{','.join(map(stringify, value))}]"
        case dict():
            members = (
                f"{orjson.dumps(key).decode()}:{stringify(_as_held(key, member))}"
                for key, member in value.items()
            )
            return f"{{{','.join(members)}}}"
        case _:
            raise AssertionError(f"{type(value).__name__} is no JSON")


def _as_held(key: str, member: object) -> object:
    if key == VALUES and isinstance(member, list):
        return [float(np.float32(one)) for one in member]
    return member


def number_text(number: float) -> str:
    """`Number.prototype.toString`, ECMA-262 6.1.6.1.20, of a finite double."""
    if number == 0:
        return "0"
    sign = "-" if math.copysign(1, number) < 0 else ""
    _, digits, exponent = Decimal(repr(abs(number))).normalize().as_tuple()
    assert isinstance(exponent, int), "the number is finite"
    text = "".join(map(str, digits))
    point = len(text) + exponent  # 0.<text> times ten to this power
    if len(text) <= point <= WHOLE_DIGITS_MAX:
        return f"{sign}{text}{'0' * (point - len(text))}"
    if 0 < point <= WHOLE_DIGITS_MAX:
        return f"{sign}{text[:point]}.{text[point:]}"
    if -ZEROS_MAX < point <= 0:
        return f"{sign}0.{'0' * -point}{text}"
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{sign}{text[0]}{fraction}e{point - 1:+d}"
