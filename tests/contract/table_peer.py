"""A POS for Pay at Table: locks, bills and RecordOrderPayment beside what `Peer` has; and the ways in which one may get them wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

from flask import jsonify, request

from tests.contract.sandbox_peer import CAPABILITIES, TABLE, Peer, wire

CONFLICT = {"errorType": "Conflict"}, 409
WAITER = "42"


class TablePeer(Peer):
    """The least that a POS must do for a waiter: one live lock an order, each payment once, nothing beyond what is left."""

    CAPABILITIES = (*CAPABILITIES, "RecordOrderPayment", "CreateOrderLock", "DeleteOrderLock", "ExtendOrderLock", "GetOrderBill")
    ROUTES = (
        *Peer.ROUTES,
        ("POST", "/v1/orders/<order_id>/lock", "lock"),
        ("PUT", "/v1/orders/<order_id>/locks/<lock_id>", "extend"),
        ("DELETE", "/v1/orders/<order_id>/locks/<lock_id>", "release"),
        ("POST", "/v1/orders/<order_id>/record-payment", "pay"),
        ("GET", "/v1/orders/<order_id>/bill", "bill"),
    )

    def __init__(self, **settings):
        self.locks, self.callers = {}, []
        super().__init__(**settings)

    def note(self):
        names = ("waiter-id", "dojo-requesting-product", "device-id", "device-type")
        self.callers.append(tuple(request.headers.get(name) for name in names))
        return super().note()

    def open(self, total, order_id="pos-1", **known):
        details = {"orderType": "DineIn", "dineIn": {"tableId": TABLE, "waiterId": WAITER}}
        return super().open(total, order_id, **({"details": details, "payments": []} | known))

    def show(self, order, intent_id):
        super().show(order, intent_id)
        mine = [(each, *self.knows[each]) for each in order["paid_by"]]
        order["payments"] = [
            {"paymentIntentId": each, "paidAmount": wire(its_paid), "tipsAmount": wire(its_tips)}
            for each, its_paid, its_tips in mine
            if its_paid or its_tips
        ]

    def holder(self, order_id):
        """The id of the live lock, or None."""
        lock_id, until = self.locks.get(order_id, (None, ""))
        return lock_id if until and datetime.fromisoformat(until) > datetime.now(UTC) else None

    def lock(self, order_id):
        body = request.get_json()
        if self.holder(order_id) not in {None, body["lockId"]}:
            return CONFLICT
        self.locks[order_id] = body["lockId"], body["expiry"]
        return jsonify(self.orders[order_id])

    def extend(self, order_id, lock_id):
        if self.locks.get(order_id, ("", ""))[0] != lock_id:  # An expired one that nobody took over may be extended.
            return CONFLICT
        self.locks[order_id] = lock_id, request.get_json()["expiry"]
        return {}

    def release(self, order_id, lock_id):
        if self.holder(order_id) not in {None, lock_id}:
            return CONFLICT
        self.locks.pop(order_id, None)
        return jsonify(self.orders[order_id])

    def pay(self, order_id):
        asked = self.asked()
        order = self.orders[order_id]
        if self.knows.get(asked.intent_id) == (asked.paid, asked.tips):
            return jsonify(order)
        left = order["totalAmount"]["value"] - order["paidAmount"]["value"]
        if asked.paid > left or self.holder(order_id) not in {None, asked.lock_id}:
            return CONFLICT
        self.count(order, asked.intent_id, asked.paid, asked.tips)
        return jsonify(order)

    def asked(self):
        body = request.get_json()
        paid, tips = body["paidAmount"]["value"], body["tipsAmount"]["value"]
        return SimpleNamespace(intent_id=body["paymentIntentId"], paid=paid, tips=tips, lock_id=body.get("lockId"))

    def bill(self, order_id):
        return jsonify(header={"lines": []}, order=self.orders[order_id], footer={"lines": []})


class RepeatRefuser(TablePeer):
    """Answers an exact repeat with 409."""

    def pay(self, order_id):
        return CONFLICT if self.asked().intent_id in self.knows else super().pay(order_id)


class DoubleCounter(TablePeer):
    """Counts a repeat as a payment of its own."""

    def pay(self, order_id):
        asked, order = self.asked(), self.orders[order_id]
        if asked.intent_id not in self.knows:
            return super().pay(order_id)
        order["paidAmount"] = wire(order["paidAmount"]["value"] + asked.paid)
        order["payments"] += order["payments"]
        return jsonify(order)


class GenerousLocker(TablePeer):
    """Grants every lock."""

    def lock(self, order_id):
        self.locks.clear()
        return super().lock(order_id)


class StubbornLocker(TablePeer):
    """Never lets go of a lock."""

    def release(self, order_id, lock_id):
        return jsonify(self.orders[order_id])


class SumChanger(TablePeer):
    """The bill grows while it is locked."""

    def pay(self, order_id):
        self.orders[order_id]["totalAmount"] = wire(self.orders[order_id]["totalAmount"]["value"] + 100)
        return super().pay(order_id)


class Forgetter(TablePeer):
    """Answers a payment as it should, and keeps nothing."""

    def pay(self, order_id):
        before = {**self.orders[order_id]}
        answer = super().pay(order_id)
        self.orders[order_id] = before
        return answer


class Closer(TablePeer):
    """Shows an order that was locked as not payable for ever."""

    def release(self, order_id, lock_id):
        super().release(order_id, lock_id)
        return jsonify(self.orders[order_id] | {"payable": False})


class Overtaker(TablePeer):
    """Takes more than is left."""

    def pay(self, order_id):
        asked = self.asked()
        self.count(self.orders[order_id], asked.intent_id, asked.paid, asked.tips)
        return jsonify(self.orders[order_id])


class SecretCounter(TablePeer):
    """Refuses what is too much, and counts it all the same."""

    def pay(self, order_id):
        answer, asked = super().pay(order_id), self.asked()
        if answer is CONFLICT:
            self.count(self.orders[order_id], asked.intent_id, asked.paid, asked.tips)
        return answer


class SecretRefuser(TablePeer):
    """Refuses what fits, and counts it all the same."""

    def pay(self, order_id):
        super().pay(order_id)
        return CONFLICT


class Talker(TablePeer):
    """Answers ExtendOrderLock with the order, as the prose of Dojo's page has it and the schema forbids."""

    def extend(self, order_id, lock_id):
        super().extend(order_id, lock_id)
        return jsonify(self.orders[order_id])


class OtherOrder(TablePeer):
    """Answers a payment with another order."""

    def pay(self, order_id):
        super().pay(order_id)
        return jsonify(self.orders[order_id] | {"id": "pos-2"})


class FailsOnce(TablePeer):
    """Keeps the first payment and answers 500."""

    def pay(self, order_id):
        answer = super().pay(order_id)
        if len([path for _, path, _ in self.received if path.endswith("/record-payment")]) == 1:
            return {"errorType": "UnexpectedError"}, 500
        return answer


class DoubleTold(TablePeer):
    """Counts a payment once more when the event of it comes."""

    def record(self, intent):
        order = self.orders[intent["orderDetails"]["externalId"]]
        if intent["status"] == "Captured":
            self.count(order, f"{intent['id']}-again", intent["amount"]["value"], 0)
        self.announce(order["id"])
