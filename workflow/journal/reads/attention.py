"""Questions about what needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from workflow.journal.reads.source import Source
from workflow.order import Order

_order_decoder = msgspec.json.Decoder(Order)


class StoredAttention(NamedTuple):
    """Something that needs a person; `order_id` is "" for what concerns no order."""

    order_id: str
    code: str
    payment_intent_id: str
    since: str
    detail: str


class AttentionReads(Source):
    """What needs a person, of orders and of the venue itself."""

    def attention(self, code: str | None = None) -> list[StoredAttention]:
        """Everything that needs a person, oldest first; of the venue itself with an empty order id."""
        sql = "SELECT order_id, code, payment_intent_id, since, detail FROM attention WHERE ? IS NULL OR code = ? ORDER BY since, order_id"
        return [StoredAttention._make(row) for row in self.rows(sql, (code, code))]

    def attention_with_orders(self, code: str | None = None) -> list[tuple[StoredAttention, Order | None]]:
        """The same, each with its order as it is now; None for what concerns no order."""
        sql = """
            SELECT attention.order_id, code, payment_intent_id, since, detail, orders.body
            FROM attention LEFT JOIN orders ON orders.id = attention.order_id WHERE ? IS NULL OR code = ? ORDER BY since, attention.order_id
        """
        return [self._decoded(row, _with_order) for row in self.rows(sql, (code, code))]

    def gravest_attention(self, codes: Sequence[str], limit: int) -> list[tuple[StoredAttention, Order | None]]:
        """The same with one of these codes, of the first code first, the oldest first; at most `limit`."""
        gravity = " ".join(f"WHEN ? THEN {number}" for number in range(len(codes)))
        found = f"""
            SELECT *, CASE code {gravity} END AS gravity FROM attention WHERE code IN ({", ".join("?" * len(codes))})
            ORDER BY gravity, since, order_id, payment_intent_id LIMIT ?
        """
        sql = f"""
            SELECT found.order_id, code, payment_intent_id, since, detail, orders.body
            FROM ({found}) AS found LEFT JOIN orders ON orders.id = found.order_id
            ORDER BY gravity, since, found.order_id, payment_intent_id
        """
        return [self._decoded(row, _with_order) for row in self.rows(sql, (*codes, *codes, limit))]

    def service_attention(self) -> list[StoredAttention]:
        """What needs a person and concerns no order, oldest first."""
        sql = "SELECT order_id, code, payment_intent_id, since, detail FROM attention WHERE order_id = '' ORDER BY since, code"
        return [StoredAttention._make(row) for row in self.rows(sql)]

    def attention_counts(self) -> dict[str, int]:
        """How often each code stands; a code that does not is not there."""
        return dict(self.rows("SELECT code, count(*) FROM attention GROUP BY code"))


def _with_order(row: tuple[Any, ...]) -> tuple[StoredAttention, Order | None]:
    return StoredAttention._make(row[:-1]), _order_decoder.decode(row[-1]) if row[-1] else None
