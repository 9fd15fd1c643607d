"""A writer of an SQLite database: python3 sqlite.py FILE MODE NAME. Prints each number it has committed."""
import sqlite3
import sys

path, mode, name = sys.argv[1:]
db = sqlite3.connect(path, timeout=60, isolation_level=None)
db.execute(f"PRAGMA journal_mode={mode}")
# FULL would not sync the directory after the removal of a rollback journal, which is what commits: a daemon that is
# killed, like a power cut, could bring the journal back, and undo the last commit.
db.execute("PRAGMA synchronous=EXTRA")
db.execute("CREATE TABLE IF NOT EXISTS t (name TEXT, n INTEGER, pad BLOB)")
for n in range(1, 1000000):
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t VALUES (?, ?, randomblob(500))", (name, n))
    db.execute("COMMIT")
    print(n, flush=True)
