"""Personal data beside the journal, kept so that nothing of them is left in the file once they are erased.

SQLite overwrites what is deleted (`secure_delete`). But where rows shrink, grow or go, it moves their neighbours between pages, and leaves
copies of these in the gaps of the pages that they came from: erased later, they would still be there. So a row here stays where it was put:
rows are added at the end, which moves none, and an erased one is overwritten by blanks of its own length. Only new data of another length
may move rows; that is noted, and the table is written anew, its old pages overwritten, before the next erasing has succeeded.
"""

from __future__ import annotations

from workflow.journal.driver import sqlite3

PERSONAL, GUESTS = "personal", "guests"
KEYS = {PERSONAL: "order_id", GUESTS: "booking_id"}
NEVER_MOVED = "never moved."
"""Before the name of a table, a name in `meta`: as long as it is there, no row of the table has left its place."""


class Beside:
    """One of the two tables, in a transaction: whose data, the salt that they are hashed with, and the data as JSON."""

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._connection, self._table, self._key = connection, table, KEYS[table]

    def keep(self, whose: str, salt: str, data: bytes) -> None:
        """Keep the data, in the place of older ones."""
        if self._length(whose) not in (None, (len(salt.encode()), len(data))):
            self._connection.execute("DELETE FROM meta WHERE name = ?", (NEVER_MOVED + self._table,))
        self._connection.execute(
            f"INSERT INTO {self._table} VALUES (?, ?, ?) ON CONFLICT({self._key}) DO UPDATE SET salt = excluded.salt, data = excluded.data",
            (whose, salt, data.decode()),
        )

    def salt(self, whose: str) -> str:
        """The salt; "" where nothing is kept, or not any more."""
        row = self._connection.execute(f"SELECT salt FROM {self._table} WHERE {self._key} = ?", (whose,)).fetchone()
        return str(row[0]).strip() if row else ""

    def forget(self, whose: str) -> None:
        """Overwrite salt and data where they are; what is left is an empty object."""
        if length := self._length(whose):
            self._write_anew_where_moved()
            salt, data = length
            sql = f"UPDATE {self._table} SET salt = ?, data = ? WHERE {self._key} = ?"
            self._connection.execute(sql, (" " * salt, "{}".ljust(data), whose))

    def _length(self, whose: str) -> tuple[int, int] | None:
        sql = f"SELECT length(CAST(salt AS BLOB)), length(CAST(data AS BLOB)) FROM {self._table} WHERE {self._key} = ?"
        row = self._connection.execute(sql, (whose,)).fetchone()
        return row and (row[0], row[1])

    def _write_anew_where_moved(self) -> None:
        if self._connection.execute("SELECT 1 FROM meta WHERE name = ?", (NEVER_MOVED + self._table,)).fetchone():
            return
        for sql in (
            f"CREATE TABLE written_anew AS SELECT * FROM {self._table}",
            f"DELETE FROM {self._table}",  # Of all: every page of it is freed, and overwritten whole.
            f"INSERT INTO {self._table} SELECT * FROM written_anew ORDER BY rowid",
            "DROP TABLE written_anew",
        ):
            self._connection.execute(sql)
        self._connection.execute("INSERT INTO meta VALUES (?, '')", (NEVER_MOVED + self._table,))
