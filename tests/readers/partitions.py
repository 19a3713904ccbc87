"""What readers see of a partition column of texts. Arguments: the table's folder, the column's name. Prints its values,
sorted: as deltalake sees them, as it sees those of each value's rows when it is asked for them alone, and as DuckDB takes
them from the names of the folders; and whether each file is where the log says.
"""

import json
import os
import sys

import duckdb
from deltalake import DeltaTable

table, name = sys.argv[1:]
delta = DeltaTable(table)
values = sorted(delta.to_pyarrow_table().column(name).to_pylist())
each = [
    value
    for value in sorted(set(values))
    for value in delta.to_pyarrow_table(filters=[(name, "=", value)]).column(name).to_pylist()
]
glob = f"read_parquet('{table}/*=*/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
plain = sorted(value for (value,) in duckdb.sql(f"SELECT {name} FROM {glob}").fetchall())
files = all(os.path.exists(uri.removeprefix("file://")) for uri in delta.file_uris())
print(json.dumps({"values": values, "each": each, "plain": plain, "files": files}))
