"""What readers see of one column. Arguments: the table's folder, the column's name. Prints its rows, those that have a
value, and its description, as Delta readers see them; and the rows that have a value for a reader without Delta.
"""

import json
import sys

import duckdb
from deltalake import DeltaTable

table, name = sys.argv[1:]
delta = DeltaTable(table)
rows = delta.to_pyarrow_table()
field = next(field for field in delta.schema().fields if field.name == name)
glob = f"read_parquet('{table}/*=*/*.parquet', hive_partitioning = true, union_by_name = true)"
plain = duckdb.sql(f"SELECT count({name}) FROM {glob}").fetchall()[0][0]
filled = rows.num_rows - rows.column(name).null_count
print(json.dumps({"rows": rows.num_rows, "filled": filled, "comment": field.metadata["comment"], "plain": plain}))
