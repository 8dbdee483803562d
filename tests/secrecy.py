"""Look for a secret, in every form it could take, in files and texts."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote


def forms_of(secret: str) -> tuple[bytes, ...]:
    """The secret as it is, URL-encoded, in JSON, and in base64 at each of the three alignments."""
    raw = secret.encode()
    encoded = {raw, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw)
        whole = text[(shift * 8 + 5) // 6 : (len(raw) + shift) * 8 // 6]
        encoded |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return tuple(sorted(encoded))


def assert_secret_absent(secret: str, files: Iterable[Path], texts: Iterable[str]) -> None:
    """Fails naming the file, or the text's number, that holds a form of the secret."""
    forms = forms_of(secret)
    for path in files:
        content = path.read_bytes() + str(path).encode()
        assert not any(form in content for form in forms), f"the secret lies in {path}"
    for number, text in enumerate(texts):
        content = text.encode(errors="surrogateescape")
        assert not any(form in content for form in forms), f"the secret is in text {number}"
