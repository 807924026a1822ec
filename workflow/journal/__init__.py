"""The store: one port, one file per database; the only user of `sqlite-utils`.

`port.Journal` is what the engine writes through; `sqlite.SqliteJournal` keeps it in one SQLite file; `reads` answers questions.
"""
