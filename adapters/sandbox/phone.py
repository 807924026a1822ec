"""`/phone`: a customer at a table, who orders and pays, or pays the bill or a part of it. What follows is a flow as any other."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from cachetools import LRUCache
from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from adapters.sandbox import forms, menu
from adapters.sandbox.basket import DEFAULT_CURRENCY, Basket, line_total
from adapters.sandbox.errors import BillBusy, CapabilityMissing, InvalidRequest, StepFailed
from adapters.sandbox.flow import OrderAndPay, PayOnly
from adapters.sandbox.flows import FlowRunner
from adapters.sandbox.guest import Bill, BilledOrder, Guest
from adapters.sandbox.intents import Intents
from adapters.sandbox.progress import ending, steps_in_words
from adapters.sandbox.server import ERROR_STATUS
from adapters.sandbox.site import Site
from workflow.money import Money

CURRENCIES = ("GBP", "EUR", "USD")
MOST_OF_A_DISH = 20
NOTE_CHARACTERS = 200
short = 255
SLOW_SECONDS = 4.0
"""How long the news of a slow capture is on its way."""
FORMS_KEPT = 1_000
"""So many forms that were sent are known again when they are sent twice."""
TIPS = {"none": 0, "10": 100, "12.5": 125, "15": 150, "other": 0}
"""Per mille of what is paid."""
_PERCENTAGES = tuple(name for name, per_mille in TIPS.items() if per_mille)
CARDS: dict[str, tuple[str, dict[str, Any]]] = {
    "fine": ("The card is good", {}),
    "declined": ("The card is declined", {"instead_of_capture": "decline"}),
    "slow": (f"The news of the payment is slow: it comes {SLOW_SECONDS:g} seconds later", {"delay_seconds": SLOW_SECONDS}),
    "away": ("The customer closes the phone before the money is taken", {"instead_of_capture": "cancel"}),
}


@dataclass(frozen=True, slots=True)
class Seat:
    """Where the customer sits, and in which currency the menu is."""

    table: str
    currency: str
    name: str
    """The table's, as the POS tells it; its id where that is not known."""

    def path(self, page: str, **more: str) -> str:
        """Another page of the same customer."""
        return f"/phone/{page}?{urlencode({'table': self.table, 'currency': self.currency} | more)}"


class Phone:
    """The views."""

    def __init__(self, site: Site, *, flows: FlowRunner, guest: Guest, intents: Intents) -> None:
        self._site, self._flows, self._guest, self._intents = site, flows, guest, intents
        self._lock = threading.Lock()
        self._sent: LRUCache[str, str] = LRUCache(FORMS_KEPT)
        self._paying: LRUCache[str, str] = LRUCache(FORMS_KEPT)
        """The flow that began last for an order."""
        self._names: dict[str, str] = {}

    def pages(self) -> Blueprint:
        """Every page of the phone."""
        pages = Blueprint("phone", __name__, url_prefix="/phone")
        pages.add_url_rule("", view_func=self.start)
        pages.add_url_rule("/table", view_func=self.table)
        pages.add_url_rule("/menu", view_func=self.menu)
        pages.add_url_rule("/basket", view_func=self.basket)
        pages.add_url_rule("/order", view_func=self.order, methods=["POST"])
        pages.add_url_rule("/bill", view_func=self.bill)
        pages.add_url_rule("/bill", "pay", view_func=self.pay, methods=["POST"])
        pages.add_url_rule("/flows/<flow_id>", view_func=self.progress)
        return pages

    def start(self) -> Response:
        """At which table?"""
        problem, tables = "", dict[str, list[tuple[str, str]]]()
        try:
            tables = {area: [(table.id, table.name) for table in found] for area, found in self._guest.tables().items()}
        except (CapabilityMissing, StepFailed) as error:
            problem = str(error)
        self._names = dict(each for found in tables.values() for each in found)
        return self._site.page("phone_start.html", tables=tables, problem=problem, currencies=CURRENCIES)

    def table(self) -> Response:
        """Order, or pay the bill?"""
        return self._site.page("phone_table.html", seat=self._seat(request.args))

    def menu(self) -> Response:
        """What is there?"""
        seat = self._seat(request.args)
        return self._site.page("phone_menu.html", seat=seat, dishes=menu.menu(seat.currency), most=MOST_OF_A_DISH, chosen=request.args)

    def basket(self) -> Response:
        """Is it right, and how much on top?"""
        seat = self._seat(request.args)
        return self._show_basket(seat, *self._basket(request.args, seat))

    def order(self) -> Response:
        """The customer pays, or orders and pays later."""
        seat = self._seat(request.form)
        basket, chosen = self._basket(request.form, seat)
        if forms.choice(request.form, "pay", {"now": False, "later": True}, "now"):
            return self._begin(OrderAndPay(basket=basket, pay_later=True, left_open=True), seat)
        try:
            tips, card = _tip(request.form, basket.total), forms.choice(request.form, "card", CARDS, "fine")[1]
            return self._begin(OrderAndPay(basket=basket, tips=tips, **card), seat)
        except InvalidRequest as error:
            return self._show_basket(seat, basket, chosen, error)

    def bill(self) -> Response:
        """What is to be paid at this table, and of that which was shown before, what is left?"""
        seat = self._seat(request.args)
        try:
            open_bills = self._guest.bills(seat.table)
            chosen = request.args.get("order") or (open_bills[0].id if len(open_bills) == 1 else "")
            return self._show_bill(seat, open_bills, self._guest.bill(chosen) if chosen else None)
        except StepFailed as error:
            return self._site.problem(502, f"The venue’s till does not answer as it should: {error}")

    def pay(self) -> Response:
        """The customer pays all that is left of a bill, or a part of it."""
        seat, order_id = self._seat(request.form), forms.text(request.form, "order", longest=short)
        try:
            bill = self._guest.bill(order_id)
            try:
                amount = _share(request.form, bill)
                tips, card = _tip(request.form, amount), forms.choice(request.form, "card", CARDS, "fine")[1]
                return self._begin(PayOnly(table_id=seat.table, order_id=order_id, amount=amount, tips=tips, **card), seat)
            except (InvalidRequest, BillBusy) as error:
                return self._show_bill(seat, (), bill, error)
        except StepFailed as error:
            return self._site.problem(502, f"The venue’s till does not answer as it should: {error}")

    def progress(self, flow_id: str) -> Response:
        """How does it go?"""
        result = self._flows.result(flow_id)
        if result is None:
            raise NotFound("this payment is unknown: the sandbox was started again, or it is too long ago")
        intents = [self._intents.read(intent_id) for intent_id in result.intent_ids]
        return self._site.page(
            "phone_progress.html",
            seat=self._seat(request.args),
            flow=result,
            intents=intents,
            ending=ending(result, intents),
            steps=steps_in_words(result),
        )

    def _show_basket(self, seat: Seat, basket: Basket, chosen: Mapping[str, str], problem: InvalidRequest | None = None) -> Response:
        return self._site.page(
            "phone_basket.html",
            ERROR_STATUS[type(problem)] if problem else 200,
            seat=seat,
            basket=basket,
            priced=[(item, line_total(item)) for item in basket.items],
            chosen=chosen,
            tips=_tips_of(basket.total),
            cards=CARDS,
            once=secrets.token_urlsafe(16),
            problem=problem,
        )

    def _show_bill(
        self, seat: Seat, bills: Sequence[BilledOrder], bill: Bill | None, problem: InvalidRequest | BillBusy | None = None
    ) -> Response:
        return self._site.page(
            "phone_bill.html",
            ERROR_STATUS[type(problem)] if problem else 200,
            seat=seat,
            bills=bills,
            bill=bill,
            tips=dict.fromkeys(_PERCENTAGES),
            cards=CARDS,
            once=secrets.token_urlsafe(16),
            problem=problem,
        )

    def _begin(self, asked: OrderAndPay | PayOnly, seat: Seat) -> Response:
        """Start the flow; the same form again is the same flow. Raises CapabilityMissing, InvalidRequest, BillBusy."""
        once = forms.text(request.form, "once", longest=100)
        with self._lock:
            if once not in self._sent:
                if isinstance(asked, PayOnly):
                    self._refuse_second_payer(asked.order_id or "")
                self._sent[once] = flow_id = self._flows.start(asked).id
                if isinstance(asked, PayOnly) and asked.order_id:
                    self._paying[asked.order_id] = flow_id
            return self._site.to(seat.path(f"flows/{self._sent[once]}"))

    def _refuse_second_payer(self, order_id: str) -> None:
        """Of two who pay one bill at the same moment, both would pay what only one of them has to. Raises BillBusy."""
        flow = self._flows.result(self._paying.get(order_id, ""))
        if flow and flow.state == "running":
            raise BillBusy("Somebody else is paying this bill at this moment. Wait until they are done, then see what is left.")

    def _seat(self, fields: Mapping[str, str]) -> Seat:
        table = forms.text(fields, "table", longest=short)
        return Seat(table, forms.currency(fields, DEFAULT_CURRENCY), self._names.get(table, table))

    def _basket(self, fields: Mapping[str, str], seat: Seat) -> tuple[Basket, dict[str, str]]:
        """What was chosen, and the fields that say so again. Raises InvalidRequest where it is nothing."""
        names = {dish.key: f"of-{dish.key}" for dish in menu.menu(seat.currency)}
        many = {key: forms.number(fields, name, least=0, most=MOST_OF_A_DISH, default=0) for key, name in names.items()}
        note = forms.text(fields, "note", longest=NOTE_CHARACTERS, needed=False)
        surprise = forms.amount(fields, "surprise", seat.currency)
        basket = menu.basket(seat.table, seat.currency, many, name=self._names.get(seat.table, ""), surprise=surprise, note=note)
        if basket is None:
            raise InvalidRequest("Your basket is empty: go back to the menu and choose something")
        chosen = {names[key]: str(count) for key, count in many.items() if count}
        chosen |= {"surprise": surprise.decimal()} if surprise else {}
        return basket, chosen | ({"note": note} if note else {})


def _share(fields: Mapping[str, str], bill: Bill) -> Money:
    """All that is left, an equal share of it, or a sum of the customer's own. Raises InvalidRequest."""
    left = bill.left
    how = forms.choice(fields, "share", {"all": "all", "equal": "equal", "amount": "amount"}, "all")
    if not left.value:
        raise InvalidRequest("Nothing is left to pay on this bill")
    _refuse_unchosen(fields, "amount", "share", "amount", "An amount")
    if how == "equal":
        people = forms.number(fields, "people", least=2, most=20, default=2)
        return Money(max(1, -(-left.value // people)), left.currency)
    amount = forms.amount(fields, "amount", left.currency) if how == "amount" else left
    if amount is None or amount.value > left.value:
        raise InvalidRequest(f"amount: expected an amount of at most {left.decimal()}, which is all that is left")
    return amount


def _tip(fields: Mapping[str, str], of: Money) -> Money | None:
    per_mille = forms.choice(fields, "tip", TIPS, "none")
    _refuse_unchosen(fields, "tip_amount", "tip", "other", "Another amount")
    if fields.get("tip") != "other":
        return _part(of, per_mille) if per_mille else None
    if tips := forms.amount(fields, "tip_amount", of.currency):
        return tips
    raise InvalidRequest(f"tip_amount: expected an amount such as {Money(250, of.currency).decimal()}")


def _refuse_unchosen(fields: Mapping[str, str], typed: str, group: str, choice: str, label: str) -> None:
    """Who typed an amount beside another choice meant one of the two, and nobody knows which. Raises InvalidRequest."""
    if fields.get(typed, "").strip() and fields.get(group) != choice:
        raise InvalidRequest(f"{typed}: an amount was typed, and something else chosen: choose “{label}”, or leave the amount empty")


def _tips_of(of: Money) -> dict[str, Money]:
    """What each percentage comes to."""
    return {name: _part(of, TIPS[name]) for name in _PERCENTAGES}


def _part(of: Money, per_mille: int) -> Money:
    return Money(of.value * per_mille // 1000, of.currency)
