"""An evening at a venue for the pages to show: both flows, what goes well, what is retried, and what needs a person."""

from __future__ import annotations

from types import SimpleNamespace

from tests.contract.running import Service, a_bill, an_event, eventually, gbp

HOSTILE = '<script>alert("till")</script>'
"""Stands in what a page shows first of one order; in every text that an order can have it does in tests/contract/test_markup.py."""
FORMULA = "=HYPERLINK(1)"
NOBODYS = "pi_of_nobody"


def play(peers: SimpleNamespace) -> SimpleNamespace:
    """The evening; the ids of its orders by what they are.

    `paid` by phone, `split` at the table by two, `open` and unpaid, `mismatch` (a penny more at Dojo than on the till),
    `retried` (its first read failed), `hostile` (markup for its name), and an event whose order nobody knows.
    """
    service, sandbox = peers.service, peers.sandbox
    paid = sandbox.order_and_pay(duplicates=1)
    service.till.post("/till/orders", a_bill(total=6120, table="tbl_9", id="till-split", reference="T-17", displayName="Table 9"))
    split = sandbox.pay_only("tbl_9", parts=2)
    service.till.post("/till/orders", a_bill(total=4820, table="tbl_12", id="till-open", reference="T-18", displayName="Table 12"))
    service.till.post("/till/orders", a_bill(total=1023, table="tbl_3", id="till-mismatch", reference="T-19"))
    sandbox.pay_only("tbl_3")
    service.till.post("/till/orders", a_bill(total=1001, table="tbl_4", id="till-retried", reference="T-20"))
    sandbox.pay_only("tbl_4")
    _open_hostile(service)
    sandbox.fault("GET", f"/payment-intents/{NOBODYS}", "400")
    service.dojo.post("/v1/events", an_event("evt-orphan", NOBODYS))
    orders = SimpleNamespace(
        paid=paid.order_id, split=split.order_id, open="till-open", mismatch="till-mismatch", retried="till-retried", hostile="till-hostile"
    )
    for order_id in (orders.paid, orders.split, orders.retried):
        service.await_state(order_id, "updated")
    eventually(lambda: service.order(orders.mismatch)["attention"])
    eventually(lambda: [item for item in service.auditor.get("/api/attention").json["data"] if item["paymentIntentId"] == NOBODYS])
    service.await_rest()
    return orders


def _open_hostile(service: Service) -> None:
    texts = {"reference": HOSTILE, "displayName": HOSTILE, "note": HOSTILE}
    item = {"plu": HOSTILE, "name": HOSTILE, "quantity": 1, "amountPerItem": gbp(990)}
    body = a_bill(total=990, table="tbl_x", id="till-hostile", items=[item]) | texts
    assert service.till.post("/till/orders", body).status < 300
