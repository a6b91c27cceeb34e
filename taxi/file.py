"""Reads one TLC Parquet file, of any size, as CSV text for PostgreSQL's COPY."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from taxi.columns import LoadError, TripColumns

READ_AHEAD_BYTES = 1 << 20


class TripFile:
    """An open Parquet file of taxi trips whose columns fit the table; a context manager.

    digest: SHA-256 of its content in hexadecimal; rows: its number of trips; columns: its
    TripColumns. Raises LoadError, which begins with the path, for an unusable file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():
                raise LoadError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
            if path.stat().st_size == 0:
                raise LoadError(f"{path}: the file is empty")
            self._file = pa.OSFile(os.fsencode(path))
        except OSError as error:
            raise LoadError(f"{path}: can't be read: {error.strerror or error}") from error
        try:
            self.digest = self._sha256()
            # By default Arrow reads whole columns of a row group and keeps them in memory.
            self._parquet = pa.parquet.ParquetFile(
                self._file,
                buffer_size=READ_AHEAD_BYTES,
                pre_buffer=False,
                coerce_int96_timestamp_unit="us",
            )
            self.columns = TripColumns(self._parquet.schema_arrow)
        except LoadError as error:
            self._file.close()
            raise LoadError(f"{path}: {error}") from error
        except (pa.ArrowException, OSError) as error:
            self._file.close()
            raise LoadError(
                f"{path}: not a Parquet file, or a damaged one: {_first_line(error)}"
            ) from error

    def __enter__(self) -> "TripFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def rows(self) -> int:
        return int(self._parquet.metadata.num_rows)

    def csv_batches(self, batch_rows: int) -> Iterator[tuple[pa.Buffer, int]]:
        """The trips as CSV text in the order of TABLE_SCHEMA, with the number of rows in each.

        Keeps one batch and READ_AHEAD_BYTES of each column in memory. Raises LoadError with the
        number of the row after which a value or the file is unusable.
        """
        options = pa.csv.WriteOptions(include_header=False)
        at = 0
        try:
            for batch in self._parquet.iter_batches(batch_rows, columns=self.columns.sources):
                sink = pa.BufferOutputStream()
                pa.csv.write_csv(self.columns.convert(batch), sink, options)
                yield sink.getvalue(), batch.num_rows
                at += batch.num_rows
        except LoadError as error:
            raise LoadError(f"{self.path}: {error} (after row {at:,})") from error
        except (pa.ArrowException, OSError) as error:
            raise LoadError(
                f"{self.path}: damaged after row {at:,}: {_first_line(error)}"
            ) from error

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        while chunk := self._file.read(READ_AHEAD_BYTES):
            digest.update(chunk)
        self._file.seek(0)
        return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
