"""Prints timestamps of the archive as DuckDB, pyarrow and deltalake read them, in microseconds since 1970, and what the Parquet
footers say of their type. Argument: the table's folder."""

import json
import sys
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.parquet
from deltalake import DeltaTable

table = sys.argv[1]
files = sorted(str(path) for path in Path(table).glob("ingested_on=*/*.parquet"))
columns = ["appeal_time", "finish_time", "update_time", "_ingested_at"]


def micros(arrow):
    orders = arrow.column("order_no").to_pylist()
    read = {order: {} for order in orders}
    for column in columns:
        values = arrow.column(column).cast(pyarrow.timestamp("us", "UTC")).cast("int64").to_pylist()
        for order, value in zip(orders, values):
            read[order][column] = value
    return read


db = duckdb.connect()
db.execute("SET TimeZone = 'Asia/Shanghai'")  # instants do not depend on it
listed = ", ".join(f"epoch_us({column})" for column in columns)
rows = db.execute(f"SELECT order_no, {listed} FROM read_parquet({files!r}, hive_partitioning = true)").fetchall()
types = db.execute(f"DESCRIBE SELECT {', '.join(columns)} FROM read_parquet({files!r})").fetchall()

plain = {}
footers = set()
for file in files:
    parquet = pyarrow.parquet.ParquetFile(file)
    plain |= micros(parquet.read())
    for column in columns:
        footers.add(str(parquet.schema.column(parquet.schema.names.index(column)).logical_type))

print(json.dumps({
    "duckdb": {order: dict(zip(columns, values)) for order, *values in rows},
    "duckdb_types": sorted({kind for _, kind, *_ in types}),
    "pyarrow": plain,
    "deltalake": micros(DeltaTable(table).to_pyarrow_table()),
    "footers": sorted(footers),
    "delta_types": sorted({field.type.type for field in DeltaTable(table).schema().fields if field.name in columns}),
}))
