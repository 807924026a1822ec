"""The journal as text for other programs: deterministic bytes, whatever the machine's zone, locale or hash seed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from workflow.journal.reads import SqliteReads, StoredEntry
from workflow.ledger import canonical

FORMATS = ("jsonl", "csv")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a text begins that a spreadsheet computes; some take the wide forms of these signs as well."""

CHUNK_CHARACTERS = 65_536
"""So much text is handed on in one piece: a call a line would cost more than the lines."""


def lines(reads: SqliteReads, form: str, first: int = 1, last: int | None = None) -> Iterator[str]:
    """Entries from position `first` to `last`, a line each, with its end; CSV begins with the names of the columns.

    Bodies are the stored canonical JSON: as an object in JSON Lines, as text in CSV.
    """
    if form == "csv":
        yield csv_line(StoredEntry._fields)
    for entry in reads.entries(after=first - 1):
        if last is not None and entry.seq > last:
            return
        yield csv_line(entry) if form == "csv" else _json_line(entry)


def chunks(reads: SqliteReads, form: str, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
    """The same as UTF-8, many lines at once, without a byte order mark; and how many entries have gone out then."""
    names = form == "csv"
    return ((count - names, text) for count, text in encoded(lines(reads, form, first, last)))


def encoded(lines_: Iterable[str]) -> Iterator[tuple[int, bytes]]:
    """Many lines at once as UTF-8, and how many have gone out then."""
    count, held, length = 0, list[str](), 0
    for line in lines_:
        held.append(line)
        length += len(line)
        if length >= CHUNK_CHARACTERS:
            count += len(held)
            yield count, "".join(held).encode()
            held, length = [], 0
    if held:
        yield count + len(held), "".join(held).encode()


def _json_line(entry: StoredEntry) -> str:
    return canonical({**entry._asdict(), "body": entry.entry().body}) + "\n"


def csv_line(values: Iterable[str | int]) -> str:
    """One line of CSV with its end; no text in it is a formula to a spreadsheet."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([_defused(value) for value in values])
    return text.getvalue()


def _defused(value: str | int) -> str | int:
    """A text that a spreadsheet would take for a formula, with an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
