"""The SQLite that is used: the bundled one where `pysqlite3` has a wheel, since older releases can corrupt a WAL database.

sqlite-utils makes the same choice by itself; a test holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
else:
    try:
        from pysqlite3 import dbapi2 as sqlite3
    except ImportError:
        import sqlite3

__all__ = ["sqlite3"]
