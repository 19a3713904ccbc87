"""Works on a table as another program would, between two runs of huiju. Arguments: the table's folder, then what to do, in
order. Prints what readers of Delta see at the end: rows, different places of rows, live files.

optimize · delete (the rows of one order) · checkpoint · cleanup (as if the log were two months old) · vacuum ·
repair (takes out files that are not there) · feed (asks for a change data feed) · constraint ·
overtaken=huiju (an OPTIMIZE and a DELETE that a compaction by this binary overtakes: they must not commit)
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

table, verbs = sys.argv[1], sys.argv[2:]
deleted = 0
for verb in verbs:
    delta = DeltaTable(table)
    if verb == "optimize":
        delta.optimize.compact()
    elif verb == "delete":
        order = delta.to_pyarrow_table(columns=["order_no"]).column("order_no")[0].as_py()
        deleted += delta.delete(f"order_no = '{order}'")["num_deleted_rows"]
    elif verb == "repair":
        delta.repair()
    elif verb == "feed":
        delta.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    elif verb == "constraint":
        delta.alter.add_constraint({"counted": "_offset >= 0"})
    elif verb == "checkpoint":
        delta.create_checkpoint()
    elif verb == "cleanup":
        old = time.time() - 60 * 24 * 3600
        for entry in Path(table, "_delta_log").glob("*"):
            os.utime(entry, (old, old))
        before = len(list(Path(table, "_delta_log").glob("*.json")))
        delta.cleanup_metadata()
        after = len(list(Path(table, "_delta_log").glob("*.json")))
        assert after < before, f"nothing was cleaned up: {before} {after}"
    elif verb.startswith("overtaken="):
        compact = [verb.removeprefix("overtaken="), "archive", "compact", "--min-files", "2"]
        second, version = DeltaTable(table), delta.version()
        subprocess.run(compact, cwd=Path(table).parent.parent, check=True, stdout=subprocess.DEVNULL)
        for work in (delta.optimize.compact, lambda: second.delete("_offset % 2 = 0")):
            try:
                work()
            except CommitFailedError:
                continue
            sys.exit("it committed what was replaced meanwhile")
        assert DeltaTable(table).version() > version, "there was nothing to compact"
    elif verb == "vacuum":
        delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    else:
        sys.exit(f"what is {verb}?")

delta = DeltaTable(table)
rows = delta.to_pyarrow_table()
places = duckdb.sql("SELECT count(DISTINCT (_topic, _partition, _offset, _row)) FROM rows").fetchall()[0][0]
print(json.dumps({"rows": rows.num_rows, "places": places, "files": len(delta.file_uris()), "deleted": deleted}))
