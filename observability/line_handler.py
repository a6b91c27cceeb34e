"""Writes log lines to a stream's file, one system call each.

A text stream would copy each line into two buffers and then be flushed.
"""

from __future__ import annotations

import codecs
import io
import logging
import os
from typing import TextIO


# Python 3.10 has no StreamHandler[TextIO].
class LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """A handler that has written a line, whole, when it returns."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._file = stream.fileno() if _is_plain(stream) else None
        self._errors = stream.errors or "strict" if self._file is not None else ""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.write_line(self.format(record))
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def write_line(self, line: str) -> None:
        """Write the line and its end. Raises what the stream raises."""
        assert self.lock is not None
        with self.lock:
            if self._file is None:
                self.stream.write(line + "\n")
                self.flush()
                return
            rest = (line + "\n").encode("utf-8", self._errors)
            while rest:
                rest = rest[os.write(self._file, rest) :]


def _is_plain(stream: TextIO) -> bool:
    """Whether what is written to its file is what would be written through the stream."""
    return (
        type(stream) is io.TextIOWrapper
        and codecs.lookup(stream.encoding).name == "utf-8"
        and os.get_blocking(stream.fileno())
    )
