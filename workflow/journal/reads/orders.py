"""Questions about orders as they are now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from workflow.bill import Personal
from workflow.effects import TILL
from workflow.journal.reads.order_search import OrderFilter, count_query, orders_query
from workflow.journal.reads.source import Position, Source, from_ms
from workflow.lifecycle import ORDER
from workflow.order import Order

_order_decoder = msgspec.json.Decoder(Order)
_personal_decoder = msgspec.json.Decoder(Personal)


class OrderWait(NamedTuple):
    """A call that an order waits for: its `effect`, and the number of attempts so far.

    `next_at` (UTC text) is when it is tried again, None where it is under way (`leased`) or was given up (`dead`). What is `paused` may
    wait longer: its destination takes nothing now.
    """

    effect: str
    status: str
    attempts: int
    next_at: str | None


class StoredOrder(NamedTuple):
    """An order and the personal data kept beside the journal."""

    order: Order
    personal: Personal


class OrderReads(Source):
    """Orders, and what each waits for."""

    def order(self, order_id: str) -> StoredOrder | None:
        """The order as it is now."""
        rows = self.rows(f"{_ORDER} WHERE orders.id = ?", (order_id,))
        return self._decoded(rows[0], _stored_order) if rows else None

    def orders(
        self,
        wanted: OrderFilter,
        limit: int,
        *,
        after: Position | None = None,
        before: Position | None = None,
        since: str | None = None,
    ) -> list[StoredOrder]:
        """Up to `limit` orders, newest first: those behind `after`, or the nearest ones in front of `before`; none created before `since`.

        The cost is that of the rows that are answered, however many orders there are: every page is read from an index in its order.
        """
        sql, values = orders_query(wanted, limit, after=after, before=before, since=since)
        found = [self._decoded(row, _stored_order) for row in self.rows(sql, values)]
        return found[::-1] if before else found

    def count_orders(self, wanted: OrderFilter, at_most: int) -> int:
        """How many orders there are of these; `at_most` where there are more, which costs no more than counting so many."""
        sql, values = count_query(wanted, at_most)
        return int(self.rows(sql, values)[0][0])

    def waits(self, order_ids: Sequence[str]) -> dict[str, OrderWait]:
        """What these orders wait for, of several calls what is tried soonest: an order that waits for nothing is not there."""
        rows = self.rows(_WAITS, (json.dumps(list(order_ids)),))
        found = dict[str, OrderWait]()
        for order_id, effect, status, attempts, next_at_ms in rows:
            waits = status in ("pending", "paused")
            found.setdefault(order_id, OrderWait(effect, status, attempts, from_ms(next_at_ms) if waits else None))
        return found

    def moved_at(self, order_ids: Sequence[str]) -> dict[str, str]:
        """Since when each of these orders is in its state, UTC text."""
        return dict(self.rows(_MOVED_AT, (json.dumps(list(order_ids)),)))

    def orders_with_personal(self, before: str) -> list[str]:
        """The ids of orders created before that moment, UTC text, with personal data that are kept, or the salt of such; oldest first."""
        sql = """
            SELECT id FROM orders JOIN personal ON personal.order_id = orders.id
            WHERE created_at < ? AND trim(salt) <> '' ORDER BY created_at, id
        """
        return [row[0] for row in self.rows(sql, (before,))]

    def no_from_till(self, order_id: str) -> str:
        """Why the till refused the order, in its words; "" where it did not."""
        where = "order_id = ? AND kind = 'operator' AND trigger = 'refuse'"
        rows = self.rows(f"SELECT json_extract(body, '$.reason') FROM journal WHERE {where} ORDER BY order_seq DESC LIMIT 1", (order_id,))
        return rows[0][0] or "" if rows else ""

    def next_look(self, order_id: str) -> str | None:
        """When the sweep asks Dojo about an open payment of the order by itself, UTC text; None where it does not."""
        sql = "SELECT min(next_at_ms) FROM watch WHERE intent_id IN (SELECT intent_id FROM payments WHERE order_id = ?) AND order_id = ?"
        at_ms = self.rows(sql, (order_id, order_id))[0][0]
        return from_ms(at_ms) if at_ms is not None else None


def _stored_order(row: tuple[Any, ...]) -> StoredOrder:
    return StoredOrder(_order_decoder.decode(row[0]), _personal_decoder.decode(row[1]) if row[1] else Personal())


_ORDER = "SELECT orders.body, personal.data FROM orders LEFT JOIN personal ON personal.order_id = orders.id"

_LANES = f"SELECT value, value AS lane FROM json_each(?1) UNION ALL SELECT value, '{TILL}:' || value FROM json_each(?1)"
_WAITS = " UNION ALL ".join(
    f"""
    SELECT order_id, effect, status, attempts, next_at_ms, {rank} AS rank
    FROM ({_LANES}) AS asked CROSS JOIN outbox INDEXED BY outbox_{status} ON outbox.lane = asked.lane AND status = '{status}'
    """
    for rank, status in enumerate(("leased", "pending", "paused"))
)
_WAITS = f"""
SELECT order_id, effect, status, attempts, next_at_ms FROM (
  {_WAITS} UNION ALL
  SELECT order_id, effect, status, attempts, next_at_ms, 3
  FROM json_each(?1) AS asked CROSS JOIN outbox INDEXED BY outbox_dead ON outbox.order_id = asked.value AND status = 'dead'
) ORDER BY rank, next_at_ms
"""
"""Each order has a lane at Dojo and one at the till; a partial index serves only the very condition that it was made with."""

_MOVED_AT = f"""
SELECT value, (
  SELECT at FROM journal WHERE order_id = value AND kind = 'transition' AND payment_intent_id = '' AND machine GLOB '{ORDER.name}@*'
  ORDER BY order_seq DESC LIMIT 1
) AS moved_at FROM json_each(?) WHERE moved_at IS NOT NULL
"""
