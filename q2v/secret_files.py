"""Secrets: where one is to be found, reading it when it is needed, and never showing it."""

import hmac
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from typing_extensions import override

from migrate.errors import UsageError
from migrate.mapping.value_rules import Rule
from q2v.output.logs import PROCESS_MASKER, Masker

SECRET_BYTES_MAX = 16_384  # of a secret's file; a token is far shorter
_ALLOWED_MODE = 0o600
MASKED_LENGTH_MIN = 8  # a shorter text is found in ordinary words
# What an HTTP header takes without complaint. A library that refuses the header would show it.
_ONE_WORD = re.compile(r"[\x21-\x7e]+")
_FILE_REMEDY = "create it with: (umask 077; cat > FILE), paste the secret as its only line"


class Secret:
    """A token or key. Text, `repr` and copies do not give it away; `reveal` does."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself, for the one header that carries it."""
        return self._value

    @override
    def __repr__(self) -> str:
        """Masked, so that no log, assertion or traceback shows it."""
        return "Secret(***)"

    @override
    def __str__(self) -> str:
        """Masked as well."""
        return "***"

    @override
    def __format__(self, spec: str) -> str:
        """Masked whatever the format: a width would reveal the length."""
        return "***"

    @override
    def __eq__(self, other: object) -> bool:
        """Equal secrets, compared in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other.reveal().encode())

    __hash__ = None  # type: ignore[assignment]  # a dictionary of secrets has no use here

    @override
    def __reduce__(self) -> NoReturn:
        """Refuse pickle, `copy` and `dataclasses.asdict`: each would spread it unseen."""
        raise TypeError("a secret is not copied or stored")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretPlace:
    """Where a secret is to be found; holds no secret."""

    key: str  # of the setting, as "target.api_token"
    kind: Literal["environment", "file"]
    place: str  # name of the environment variable, or path of the file
    named_by: str  # what pointed there, for messages

    @override
    def __str__(self) -> str:
        """What `plan` shows."""
        if self.kind == "environment":
            return f"set (from environment {self.place})"
        return f"set (from the file named by {self.named_by})"


def find_secret(key: str, variable: str) -> SecretPlace | None:
    """Where the environment says that a secret is: in `variable`, or in the file of its _FILE.

    None when neither is set. Registers the secret of `variable` with the masker: it may have been
    pasted into another setting, which is shown when it is refused.
    Raises UsageError when both are set.
    """
    value, file = os.environ.get(variable, ""), os.environ.get(f"{variable}_FILE", "")
    if len(value.strip()) >= MASKED_LENGTH_MIN:
        PROCESS_MASKER.register(value.strip())
    if value and file:
        raise UsageError(
            f"{key}: found both {variable} and {variable}_FILE in the environment, expected one",
            remedy=f"unset {variable}, and keep the secret in the file",
        )
    if value:
        named_by = f"environment {variable}"
        return SecretPlace(key=key, kind="environment", place=variable, named_by=named_by)
    if file:
        named_by = f"environment {variable}_FILE"
        return SecretPlace(key=key, kind="file", place=file, named_by=named_by)
    return None


def load_secret(
    place: SecretPlace,
    *,
    environment: Mapping[str, str] = os.environ,
    masker: Masker = PROCESS_MASKER,
) -> Secret:
    """Read the secret, and mask it in everything that is written from now on.

    Called as late as possible: who checks the address first never holds the token of a refused
    one. Raises UsageError when the variable is gone, or the file is a link, not a regular file,
    open to others, unreadable, empty, or more than one word on one line.
    """
    if place.kind == "environment":
        text = environment.get(place.place, "")
        source = f"environment {place.place}"
    else:
        text = read_private_file(place)
        source = f"file {place.place}"
    masker.register(text.strip())  # also when it is refused below: it has been in our hands
    word = text.removesuffix("\n").removesuffix("\r")
    if not word:
        raise _refused(place, source, "it is empty", expected="one line with the secret")
    if not _ONE_WORD.fullmatch(word):
        raise _refused(
            place,
            source,
            "it has more than one line, white space, or characters beyond ASCII",
            expected="one line with the secret and nothing else",
        )
    return Secret(word)


def reveal(place: SecretPlace) -> str:
    """The secret at a place of this machine, masked from now on. Raises as `load_secret`."""
    return load_secret(place).reveal()


def path_to(what: str) -> Rule:
    """What a setting with a path has to be: the path of something, as the operator types it."""
    return Rule(
        expected=f"the path of {what}",
        read=lambda text: typed_path(text) if text and text.isprintable() else None,
    )


def typed_path(text: str) -> Path:
    """The path that an operator means: ~/ is the own folder also where no shell expands it."""
    return Path.home() / text[2:] if text.startswith("~/") else Path(text)


def read_private_file(place: SecretPlace, *, remedy: str | None = None) -> str:
    """The text of a secret's file.

    Raises UsageError for a link, another kind of file, one that is open to others, unreadable or
    too large; `remedy` is for a secret that is no word on a line.
    """
    path = typed_path(place.place)
    source = f"file {path} (named by {place.named_by})"
    expected = "a regular file, mode 0600 or stricter, not a link"
    # Without O_NONBLOCK a named pipe would hold us for ever before we can refuse it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except (OSError, ValueError) as error:
        found = "it is a link" if path.is_symlink() else f"it cannot be opened ({_reason(error)})"
        raise _refused(place, source, found, expected=expected, fix=remedy) from error
    try:
        # The open handle is checked, not the name: the name may point elsewhere a moment later.
        state = os.fstat(handle)
        mode = stat.S_IMODE(state.st_mode)
        if not stat.S_ISREG(state.st_mode):
            raise _refused(place, source, "it is not a regular file", expected=expected, fix=remedy)
        if mode & ~_ALLOWED_MODE:
            raise _refused(
                place, source, f"its mode is {mode:04o}", expected=expected, fix=f"chmod 600 {path}"
            )
        content = os.read(handle, SECRET_BYTES_MAX + 1)
    except OSError as error:
        found = f"it cannot be read ({_reason(error)})"
        raise _refused(place, source, found, expected=expected, fix=remedy) from error
    finally:
        os.close(handle)
    if len(content) > SECRET_BYTES_MAX:
        raise _refused(
            place,
            source,
            f"it is larger than {SECRET_BYTES_MAX:,} B",
            expected="one line with the secret" if remedy is None else "a secret",
            fix=remedy,
        )
    return content.decode("utf-8", "replace")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _refused(
    place: SecretPlace, source: str, found: str, *, expected: str, fix: str | None = None
) -> UsageError:
    if fix is None:
        fix = _FILE_REMEDY if place.kind == "file" else f"set {place.place} to the secret alone"
    return UsageError(
        f"{place.key} from {source}: found that {found}, expected {expected}", remedy=fix
    )
