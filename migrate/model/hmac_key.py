"""The key that makes a seal a signature: only its holder can write a file that passes."""

import hashlib
import hmac
from typing import NoReturn

from typing_extensions import override

from migrate.words import counted

KEY_LENGTH_MIN = 32  # characters; 64 hex digits are what `openssl rand -hex 32` gives


class SealKey:
    """An HMAC-SHA256 key. Never shown; the key cannot be read back from it."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        """`key` is the text of the key file; raises ValueError when it is too short to be one."""
        if len(key) < KEY_LENGTH_MIN:
            raise ValueError(
                f"{counted(len(key), 'character')}, at least {KEY_LENGTH_MIN} are needed"
            )
        self._key = key.encode()

    def code(self, content: bytes) -> str:
        """HMAC-SHA256 over the content, in hex."""
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()

    def fits(self, content: bytes, code: object) -> bool:
        """Whether `code` is the HMAC of the content; compared in constant time."""
        given = code.encode("utf-8", "surrogatepass") if isinstance(code, str) else b""
        return hmac.compare_digest(self.code(content).encode(), given)

    @override
    def __repr__(self) -> str:
        """Masked, so that no log, assertion or traceback shows it."""
        return "SealKey(***)"

    @override
    def __reduce__(self) -> NoReturn:
        """Refuse pickling and copying, which would spread the key."""
        raise TypeError("a key is not copied or stored")
