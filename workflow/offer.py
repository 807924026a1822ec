"""What the till has said can be ordered, and at which tables: a new order of Dojo's is held against it (contract §8.7)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

from workflow.bill import Bill, Item, SubItem
from workflow.errors import NotOffered
from workflow.journal.port import Transaction

UNKNOWN_PLU = "is not in the till's catalogue"
UNAVAILABLE_PLU = "is not available now, says the till's catalogue"
UNKNOWN_TABLE = "is not one of the till's tables"


class Offer:
    """The catalogue and the tables, read again only where the till has given others: they are long, and every new order asks."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Mapping[str, bool]]] = {}

    def refusal(self, bill: Bill, transaction: Transaction) -> NotOffered | None:
        """Why this bill cannot be ordered here; None where it can, or where the till has given no list."""
        plus = self._list("catalogue", "plu", transaction)
        for field, plu, name in _plus(bill) if plus else ():
            if not plus.get(plu, False):
                return NotOffered(field=field, value=plu, name=name, reason=UNAVAILABLE_PLU if plu in plus else UNKNOWN_PLU)
        table_id = bill.details.dine_in.table_id if bill.details.dine_in else None
        tables = self._list("tables", "id", transaction) if table_id is not None else {}
        if table_id is not None and tables and table_id not in tables:
            return NotOffered(field="details.dineIn.tableId", value=table_id, name="", reason=UNKNOWN_TABLE)
        return None

    def unknown_table(self, table_ids: Sequence[str], known: Collection[str], transaction: Transaction) -> NotOffered | None:
        """The first of these tables that the till does not have and that is not among the `known` ones."""
        tables = self._list("tables", "id", transaction)
        for place, table_id in enumerate(table_ids) if tables else ():
            if table_id not in tables and table_id not in known:
                return NotOffered(field=f"tableIds[{place}]", value=table_id, name="", reason=UNKNOWN_TABLE)
        return None

    def _list(self, name: str, key: str, transaction: Transaction) -> Mapping[str, bool]:
        """The entries of a list of the venue by their key, and whether each can be had now."""
        edition = transaction.venue_edition(name)
        known = self._known.get(name)
        if known is None or known[0] != edition:
            entries = cast("list[dict[str, Any]]", transaction.venue(name) or [])
            known = self._known[name] = edition, {entry[key]: entry.get("available", True) for entry in entries}
        return known[1]


def _plus(bill: Bill) -> Iterator[tuple[str, str, str]]:
    for index, item in enumerate(bill.items):
        yield from _line(f"items[{index}]", item)
        for place, sub_item in enumerate(item.sub_items):
            yield from _line(f"items[{index}].subItems[{place}]", sub_item)


def _line(path: str, line: Item | SubItem) -> Iterator[tuple[str, str, str]]:
    yield f"{path}.plu", line.plu, line.name
    for index, modifier in enumerate(line.modifiers):
        yield f"{path}.modifiers[{index}].plu", modifier.plu, modifier.name
