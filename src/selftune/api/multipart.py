"""A multipart upload, streamed: the file's bytes go into a blob as they arrive, never into memory."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from selftune.core.errors import InvalidInput, TooLarge
from selftune.store.blobs import Blobs, Writer

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_FIELD_BYTES = 64 * 1024
_MOST_FIELDS = 64


@dataclass
class Form:
    """The fields of a form, and the file that came with it."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    has_file: bool = False


@asynccontextmanager
async def receive_form(
    request: Request, blobs: Blobs, *, file_field: str, most_bytes: int
) -> AsyncIterator[tuple[Form, Writer]]:
    """Read a form; the writer holds the file's bytes, to be committed or dropped.

    Raises:
        InvalidInput: it is not a multipart form, or not a whole one.
        TooLarge: the file or a field has more bytes than it may have.

    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise InvalidInput(
            "The request must be multipart/form-data with a boundary.", param=file_field
        )
    with _writer(blobs) as writer:
        form = Form()
        reader = _Reader(form, writer.write, file_field, most_bytes)
        try:
            parser = MultipartParser(options[b"boundary"], reader.callbacks())
            async for chunk in request.stream():
                parser.write(chunk)
            parser.finalize()
        except FormParserError as error:
            raise InvalidInput(f"The multipart body is not well formed: {error}") from error
        if not reader.is_complete:
            raise InvalidInput("The multipart body ended before its last boundary.")
        yield form, writer


@contextmanager
def _writer(blobs: Blobs) -> Iterator[Writer]:
    with blobs.writer() as writer:
        yield writer


class _Reader:
    """Takes the parser's events."""

    def __init__(
        self, form: Form, write: Callable[[bytes], None], file_field: str, most_bytes: int
    ) -> None:
        self._form, self._write = form, write
        self._file_field, self._most = file_field, most_bytes
        self._header_name, self._header_value = b"", b""
        self._disposition: dict[bytes, bytes] = {}
        self._value = bytearray()
        self._count = 0
        self.is_complete = False

    def callbacks(self) -> "MultipartCallbacks":
        """Return what the parser calls."""
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._disposition, self._value = {}, bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = parse_options_header(self._header_value)[1]
        self._header_name = self._header_value = b""

    @property
    def _is_file(self) -> bool:
        return self._name == self._file_field and not self._form.has_file

    @property
    def _name(self) -> str:
        return self._disposition.get(b"name", b"").decode("utf-8", errors="replace")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._count += end - start
            if self._count > self._most:
                raise TooLarge(
                    f"The file is larger than {self._most} bytes, the limit for one request: "
                    "use uploads for larger ones.",
                    code="file_too_large",
                    param=self._file_field,
                )
            self._write(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > _MOST_FIELD_BYTES or len(self._form.fields) >= _MOST_FIELDS:
            raise TooLarge("The form has a field that is too large, or too many fields.")

    def _part_end(self) -> None:
        if self._is_file:
            self._form.has_file = True
            name = self._disposition.get(b"filename")
            self._form.filename = None if name is None else name.decode("utf-8", errors="replace")
        else:
            self._form.fields[self._name] = self._value.decode("utf-8", errors="replace")

    def _end(self) -> None:
        self.is_complete = True
