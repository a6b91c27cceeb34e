"""A taxi file is read in bounded memory, and a batch at a time gives what the whole would."""

import csv
import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from taxi.columns import TABLE_SCHEMA
from taxi.file import TripFile

MIB = 1 << 20


@pytest.fixture
def incompressible_trips(tmp_path):
    """Writes a file of `rows` trips with random amounts, about 74 bytes each."""

    def write(*, rows, row_group_size=None):
        columns = {
            field.name: pc.random(rows, initializer=rows)
            if pa.types.is_floating(field.type)
            else pa.repeat(1, rows).cast(pa.int64()).cast(field.type)
            for field in TABLE_SCHEMA
        }
        path = tmp_path / f"{rows}-{row_group_size}.parquet"
        pq.write_table(
            pa.table(columns),
            path,
            row_group_size=row_group_size,
            use_dictionary=False,
            data_page_size=MIB // 16,
        )
        return path

    return write


@pytest.mark.parametrize(("row_group_size", "groups"), [(None, 1), (20_000, 30)])
def test_memory_is_bounded_whatever_the_row_groups(incompressible_trips, row_group_size, groups):
    path = incompressible_trips(rows=600_000, row_group_size=row_group_size)
    assert path.stat().st_size > 30 * MIB
    assert pq.ParquetFile(path).num_row_groups == groups
    before, held = pa.total_allocated_bytes(), []
    with TripFile(path) as file:
        for _ in file.csv_batches(10_000):
            held.append(pa.total_allocated_bytes() - before)
    assert max(held) < 24 * MIB


def test_batches_are_the_rows_in_order(incompressible_trips):
    path = incompressible_trips(rows=1_000, row_group_size=300)
    with TripFile(path) as file:
        batches = [(bytes(text).decode(), count) for text, count in file.csv_batches(128)]
    assert [count for _, count in batches] == [128] * 7 + [104]
    rows = [row for text, _ in batches for row in csv.reader(io.StringIO(text))]
    amounts = [float(row[TABLE_SCHEMA.names.index("total_amount")]) for row in rows]
    assert amounts == pq.read_table(path)["total_amount"].to_pylist()
