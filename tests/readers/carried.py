"""Reads the archive with DuckDB and deltalake, and the clean topic as Kafka's own console consumer prints it, and
compares all three with the truth and with each other.

Arguments: the archive's folder, the file that the console consumer wrote, the truth as CSV (topic, partition, offset, written,
rejected: rows of that message). Fails with what differs; prints the counts as JSON.
"""

import json
import sys
from pathlib import Path

import duckdb
from deltalake import DeltaTable

archive, printed, truth = sys.argv[1:]
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
wrong = []


def count(sql):
    return db.execute(f"SELECT count(*) FROM ({sql})").fetchone()[0]


def expect(what, sql):
    """The query finds what must not be."""
    found = count(sql)
    if found:
        wrong.append(f"{what}: {found}, such as {db.execute(sql + ' LIMIT 3').fetchall()}")


# Readers that know nothing of Delta: every file below a Hive partition.
for name, table in [("rows", "work_orders"), ("rejects", "work_orders_rejects")]:
    files = f"{archive}/{table}/ingested_on=*/*.parquet"
    db.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{files}', hive_partitioning = true)")

# Readers that do.
for name, table in [("delta_rows", "work_orders"), ("delta_rejects", "work_orders_rejects")]:
    delta = DeltaTable(f"{archive}/{table}")
    db.register(name, delta.to_pyarrow_table())
    on_disk = {str(path) for path in Path(archive, table).glob("ingested_on=*/*.parquet")}
    in_log = {uri.removeprefix("file://") for uri in delta.file_uris()}
    if on_disk != in_log:
        wrong.append(f"{table}: files on the disk and files in the log differ: {sorted(on_disk ^ in_log)[:3]}")

for name in ["rows", "rejects"]:
    columns = [column for column, *_ in db.execute(f"DESCRIBE {name}").fetchall()]
    listed = ", ".join(f'"{column}"' for column in columns if column not in ("flags", "faults"))
    expect(f"{name} that only DuckDB sees", f"SELECT {listed} FROM {name} EXCEPT ALL SELECT {listed} FROM delta_{name}")
    expect(f"{name} that only deltalake sees", f"SELECT {listed} FROM delta_{name} EXCEPT ALL SELECT {listed} FROM {name}")

# The truth, message by message.
db.execute(f"CREATE TABLE truth AS SELECT * FROM read_csv('{truth}', header = true)")
db.execute("""
    CREATE TABLE found AS
    SELECT topic, "partition", "offset", sum(written) AS written, sum(rejected) AS rejected
    FROM (
        SELECT _topic AS topic, _partition AS "partition", _offset AS "offset", 1 AS written, 0 AS rejected FROM rows
        UNION ALL
        SELECT topic, "partition", "offset", 0, 1 FROM rejects
    ) GROUP BY ALL
""")
expect("messages whose rows are not what they should be", """
    SELECT t.topic, t."partition", t."offset", t.written, f.written AS found_written, t.rejected, f.rejected AS found_rejected
    FROM truth t FULL JOIN found f USING (topic, "partition", "offset")
    WHERE coalesce(t.written, 0) <> coalesce(f.written, 0) OR coalesce(t.rejected, 0) <> coalesce(f.rejected, 0)
""")
expect("rows that came twice", "SELECT _topic, _partition, _offset, _row FROM rows GROUP BY ALL HAVING count(*) > 1")
expect("keys that came twice", "SELECT app_id, order_no, update_time FROM rows GROUP BY ALL HAVING count(*) > 1")

# The clean topic, committed transactions only: partition, offset, key and value between tabs.
lines = []
for line in open(printed, encoding="utf-8"):
    if line.startswith("Partition:"):
        partition, offset, key, value = line.rstrip("\n").split("\t", 3)
        lines.append((int(partition.split(":")[1]), int(offset.split(":")[1]), key, value))
jsonl = Path(printed).with_suffix(".jsonl")
with open(jsonl, "w", encoding="utf-8") as out:
    for partition, offset, key, value in lines:
        out.write(json.dumps({"p": partition, "o": offset, "key": key, "value": value}, ensure_ascii=False) + "\n")
db.execute(f"""
    CREATE TABLE clean AS
    SELECT p, o, key, value ->> '$.app_id' AS app_id, value ->> '$.order_no' AS order_no,
           CAST(value ->> '$.update_time' AS TIMESTAMPTZ) AS update_time, value ->> '$.content' AS content,
           value ->> '$.status' AS status, value ->> '$.contact_phone' AS contact_phone
    FROM read_json('{jsonl}', format = 'newline_delimited', columns = {{p: 'INT', o: 'BIGINT', key: 'VARCHAR', value: 'VARCHAR'}})
""")
fields = "app_id, order_no, update_time, content, status, contact_phone"
expect("rows that only the clean topic has", f"SELECT {fields} FROM clean EXCEPT ALL SELECT {fields} FROM rows")
expect("rows that only the archive has", f"SELECT {fields} FROM rows EXCEPT ALL SELECT {fields} FROM clean")
expect("keys that are not the row's", "SELECT key FROM clean WHERE key <> app_id || '|' || order_no")
expect("orders in two partitions", "SELECT key FROM clean GROUP BY key HAVING count(DISTINCT p) > 1")
expect("versions of an order out of order", """
    WITH a AS (
        SELECT app_id || '|' || order_no AS key, update_time,
               row_number() OVER (PARTITION BY app_id, order_no ORDER BY _topic, _partition, _offset, _row) AS n
        FROM rows
    ), c AS (SELECT key, update_time, row_number() OVER (PARTITION BY key ORDER BY p, o) AS n FROM clean)
    SELECT * FROM a FULL JOIN c USING (key, n) WHERE a.update_time IS DISTINCT FROM c.update_time
""")

if wrong:
    sys.exit("\n".join(wrong))
print(json.dumps({
    "rows": count("FROM rows"),
    "rejects": count("FROM rejects"),
    "clean": count("FROM clean"),
    "orders_with_versions": count("SELECT order_no FROM rows GROUP BY app_id, order_no HAVING count(*) > 1"),
    "files": len(DeltaTable(f"{archive}/work_orders").file_uris()),
}))
