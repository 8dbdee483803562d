"""Print docs/api.md: the public names of `migrate` and `reconcile`, from their docstrings.

`.venv/bin/python -m tools.api_page > docs/api.md` writes it; tests/docs/test_api.py holds the
page to the code.
"""

import dataclasses
import inspect
import re
import sys

import migrate
import reconcile

_MODULE = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])")  # before the name of a class
_HEAD = """# Python API

Made by `.venv/bin/python -m tools.api_page` from the docstrings; a test compares it with the code.

"""


def page() -> str:
    """The whole page as Markdown."""
    texts = [_HEAD, _body(inspect.getdoc(migrate) or "")]
    for package in (migrate, reconcile):
        for name in package.PUBLIC_NAMES:
            texts.append(_entry(f"{package.__name__}.{name}", getattr(package, name)))
    return "".join(texts)


def _entry(title: str, thing: object) -> str:
    """Signature and docstring of a function or class; of a record its fields."""
    text = f"## `{title}`\n\n"
    if inspect.isfunction(thing) or _has_constructor(thing):
        text += f"```python\n{_signature(title, thing)}\n```\n\n"
    text += _body(inspect.getdoc(thing) or "")
    if inspect.isclass(thing) and dataclasses.is_dataclass(thing):
        text += _fields(thing)
    if _is_contract(thing):
        text += _methods(title, thing)
    return text


def _is_contract(thing: object) -> bool:
    """Whether a class only says what other classes provide."""
    return inspect.isclass(thing) and bool(getattr(thing, "_is_protocol", False))


def _methods(title: str, contract: object) -> str:
    """Signature and docstring of each method."""
    return "".join(
        f"```python\n{_signature(f'{title}.{name}', method)}\n```\n\n"
        + _body(inspect.getdoc(method) or "")
        for name, method in vars(contract).items()
        if inspect.isfunction(method) and not name.startswith("_")
    )


def _has_constructor(thing: object) -> bool:
    """Whether a class, which is no record, is constructed with arguments."""
    return (
        inspect.isclass(thing)
        and not _is_contract(thing)
        and not dataclasses.is_dataclass(thing)
        and bool(inspect.signature(thing).parameters)
    )


def _signature(title: str, function: object) -> str:
    assert callable(function)
    is_class = isinstance(function, type)
    signature = inspect.signature(function)
    lines = []
    keyword_only = False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            lines.append("    *,")
        default = "" if parameter.default is parameter.empty else f" = {_value(parameter.default)}"
        lines.append(f"    {parameter.name}: {_type(parameter.annotation)}{default},")
    returns = "" if is_class else f" -> {_type(signature.return_annotation)}"
    if not lines:
        return f"{title}(){returns}"
    return "\n".join([f"{title}(", *lines, f"){returns}"])


def _type(annotation: object) -> str:
    text = inspect.formatannotation(annotation)
    if isinstance(annotation, type) and "[" not in str(annotation):
        text = annotation.__name__
    return _MODULE.sub("", text)


def _value(default: object) -> str:
    return default.__name__ if inspect.isfunction(default) else repr(default)


def _fields(record: type) -> str:
    names = [f"`{field.name}`" for field in dataclasses.fields(record)]
    return f"Fields: {', '.join(names)}.\n\n" if names else ""


def _body(docstring: str) -> str:
    """The docstring; its examples as a block of code."""
    lines: list[str] = []
    in_example = False
    for line in docstring.splitlines():
        is_example = line.startswith(">>> ") or (in_example and bool(line))
        if is_example and not in_example:
            lines.append("```python")
        if in_example and not is_example:
            lines.append("```")
        in_example = is_example
        lines.append(line)
    if in_example:
        lines.append("```")
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    sys.stdout.write(page())
