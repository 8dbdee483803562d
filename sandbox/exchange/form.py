"""The parts of a multipart/form-data body."""

from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from sandbox.errors import ServiceError
from sandbox.limits import BODY_BYTES_MAX

_PARTS_MAX = 100  # no client sends more than two


def parse_form(
    body: bytes | bytearray, content_type: str, *, refusal: ServiceError
) -> Mapping[str, bytes]:
    """Contents by part name; of a name given twice, the first. Raises `refusal` if malformed.

    Not Starlette's `Request.form()`: it decodes a part without a file name as text, and a KV value
    is any bytes.
    """
    parts: list[tuple[str, bytes]] = []
    ended: list[bool] = []

    def keep(name: bytes | None, content: bytes) -> None:
        if len(parts) == _PARTS_MAX:
            raise FormParserError("too many parts")
        parts.append(((name or b"").decode("utf-8", "replace"), content))

    def keep_field(field: Field) -> None:
        keep(field.field_name, field.value or b"")

    def keep_file(file: File) -> None:
        file.file_object.seek(0)
        keep(file.field_name, file.file_object.read())

    try:
        parser = FormParser(
            "multipart/form-data",
            keep_field,
            keep_file,
            on_end=lambda: ended.append(True),
            boundary=parse_options_header(content_type)[1].get(b"boundary") or None,
            config={"MAX_MEMORY_FILE_SIZE": BODY_BYTES_MAX},
        )
        parser.write(bytes(body))
    except FormParserError as error:
        raise refusal from error
    if not ended:
        raise refusal
    return dict(reversed(parts))
