"""Markup in every text that an order can have, and in what is written beside it, on every page that shows any of it.

What a parser makes of a page is what a browser would: markup that it finds there would run.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from msgspec import inspect

from adapters.edge.wire_orders import CreateOrderRequest, OpenOrderRequest
from adapters.sandbox import Sandbox, menu
from tests.browser.routes import route_of
from tests.contract.running import KEY, TOKENS, Service, an_event, beside_sandbox, eventually, gbp, where_it_is_noon
from workflow.clock import SystemClock
from workflow.money import Money

MARKUP = "\"'><script>r()</script><img src=x onerror=r()>"
"""Ends whatever attribute it stands in, and runs in two ways."""
FORM = "application/x-www-form-urlencoded"
NOWHERE = {"customer.id", "items.subItems.note"}
"""Texts of an order that no page shows."""
PAGES = {
    "/",
    "/act",
    "/attention",
    "/journal",
    "/journal/<int:seq>",
    "/orders",
    "/orders/<order_id>",
    "/orders/<order_id>/erase",
    "/orders/<order_id>/resolve",
    "/outbox",
    "/outbox/<task_id>/requeue",
    "/outbox/<task_id>/stop",
    "/takings/<date>",
    "/takings/<date>/resolve",
}
"""Of the console, those that show something of an order, of a call or of a payment."""
PHONE = {f"sandbox /phone{rest}" for rest in ("", "/table", "/menu", "/basket", "/bill", "/flows/<flow_id>")}
PANEL = {f"sandbox /panel{rest}" for rest in ("", "/calls", "/events", "/flows/<flow_id>", "/intents/<intent_id>")}


class Behind(SystemClock):
    """Dojo's clock, some minutes slow: what it captured is on its way to nobody any more, and a difference."""

    def now(self) -> datetime:
        return super().now() - timedelta(minutes=5)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A `service` beside a `sandbox`, and the `texts` of its orders by their place: all that callers and people write there is markup."""
    settings = {"VENUE_NAME": f"{MARKUP}venue", "TIMEZONE": where_it_is_noon(), "CALL_DEADLINE_MS": 60_000, "LEASE_S": 120}
    sandbox = Sandbox(api_key=KEY, step_seconds=10, clock=Behind(), event_back_off_seconds=0.02)
    with beside_sandbox(tmp_path_factory.mktemp("markup"), sandbox, **settings) as peers:
        service, peers.texts = peers.service, {}
        bill = order_of(OpenOrderRequest, peers.texts)
        peers.table = bill["details"]["dineIn"]["tableId"]
        peers.others = {name: f"{MARKUP}{name}" for name in ("venue", "table", "area", "refusal", "lock", "orphan", "why")}
        service.till.call("PUT", "/till/areas", [{"id": "in", "name": peers.others["area"]}])
        service.till.call("PUT", "/till/tables", [{"id": peers.table, "name": peers.others["table"], "areaId": "in"}])
        refused_by_dojo(peers, bill | {"id": "till-dead"})
        assert service.till.post("/till/orders", bill | {"id": "till-paid"}).status == 200
        flow = peers.sandbox.pay_only(peers.table, order_id="till-paid")
        peers.flow = flow.id
        paid = order_of(CreateOrderRequest, {})
        peers.dojos = [created(service, paid), created(service, paid | {"dojoOrderId": f"{MARKUP}later", "payments": []})]
        expiry = "2036-03-14T19:00:00Z"
        assert service.dojo.post(f"/v1/orders/{peers.dojos[0]}/lock", {"lockId": peers.others["lock"], "expiry": expiry}).status == 200
        assert service.till.post(f"/till/orders/{peers.dojos[1]}/refuse", {"reason": peers.others["refusal"]}).status == 200
        event = an_event(
            f"{MARKUP}event", peers.others["orphan"], f"{MARKUP}status", accountId=f"{MARKUP}account", captureMode=f"{MARKUP}mode"
        )
        assert service.dojo.post("/v1/events", event).status == 200
        peers.intent = peers.sandbox.intents.make(
            Money(4820, "GBP"), reference=f"{MARKUP}reference", external_id=MARKUP, description=MARKUP
        ).id
        peers.sandbox.intents.capture(peers.intent)
        service.await_state("till-paid", "updated")
        service.await_rest()
        peers.sandbox.intents.refund(flow.intent_ids[0], Money(1, "GBP"))  # Of which Dojo says nothing: another difference.
        service.await_rest()
        yield peers


def refused_by_dojo(peers: SimpleNamespace, bill: dict[str, Any]) -> None:
    """Open it, with Dojo refusing to hear of it, and once more where an operator asks for it."""
    service = peers.service
    peers.sandbox.fault("POST", "/epos/events", "400", times=2)
    assert service.till.post("/till/orders", bill).status == 200
    (task,) = eventually(lambda: [each for each in service.tasks(bill["id"]) if each["status"] == "dead"])
    peers.dead = task["id"]
    assert service.operator.post(f"/api/outbox/{peers.dead}/requeue", {"reason": peers.others["why"]}).status == 200
    eventually(lambda: [each for each in service.tasks(bill["id"]) if each["status"] == "dead"])


def created(service: Service, order: dict[str, Any]) -> str:
    """Dojo's order is taken; our id of it."""
    reply = service.dojo.post("/v1/orders", order)
    assert reply.status == 200, reply.body
    return str(reply.json["id"])


def order_of(type_: type, texts: dict[str, str]) -> dict[str, Any]:
    """A request of which all is there that may be, and every text is markup. It is at a table, since it cannot be collected, too."""
    made: dict[str, Any] = full(inspect.type_info(type_), "", texts)
    made["details"] = {"orderType": "DineIn", "dineIn": made["details"]["dineIn"]}
    del texts["details.collection.collectionTime"]
    texts.pop("id", None)  # Of letters and digits alone, and not to be markup.
    return made


def full(type_: Any, path: str, texts: dict[str, str]) -> Any:
    """A value of the type, of which all is there that may be, and every text is markup: `texts` has them by their place."""
    match type_:
        case inspect.UnionType() | inspect.Metadata():
            return inner(type_, path, texts)
        case inspect.StructType(cls=cls) if cls is Money:
            return gbp(1)
        case inspect.StructType():
            return {field.encode_name: full(field.type, f"{path}.{field.encode_name}".lstrip("."), texts) for field in type_.fields}
        case inspect.VarTupleType():
            return [full(type_.item_type, path, texts)]
        case inspect.LiteralType():
            return type_.values[0]
        case inspect.IntType() | inspect.BoolType():
            return 1 if isinstance(type_, inspect.IntType) else True
        case inspect.StrType():
            return texts.setdefault(path, f"{MARKUP}{len(texts)};")
    raise AssertionError(f"{path}: {type_} is new here")


def inner(type_: Any, path: str, texts: dict[str, str]) -> Any:
    """The same of a type that may be absent too, or of one with its limits."""
    if isinstance(type_, inspect.UnionType):
        return full(next(each for each in type_.types if not isinstance(each, inspect.NoneType)), path, texts)
    is_moment = (type_.extra_json_schema or {}).get("format") == "date-time"
    return "2026-03-14T19:00:00Z" if is_moment else full(type_.type, path, texts)


class Page(HTMLParser):
    """What a browser would make of a page: its links, its words, and what would run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.runs: list[str | None] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        is_ours = tag == "script" and (given.get("src") or "").startswith("/static/")
        if (tag in {"script", "img", "iframe", "object", "embed"} and not is_ours) or any(name.startswith("on") for name in given):
            self.runs.append(self.get_starttag_text())
        self.words += "".join(value or "" for value in given.values())  # A label of an option's group, and the like.
        self.links += [given["href"] or ""] if tag == "a" and "href" in given else []

    def handle_data(self, data: str) -> None:
        self.words += data


class Reader:
    """Who looks at pages, without scripts; with a token, as whom it names."""

    def __init__(self, port: int, token: str = "") -> None:
        self._port, self._cookie = port, ""
        if token:
            self._cookie = self._ask("POST", "/login", token=token).headers["Set-Cookie"].partition(";")[0]

    def _ask(self, method: str, path: str, **form: str) -> SimpleNamespace:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=90)) as connection:
            connection.request(method, path, urlencode(form), {"Cookie": self._cookie, "Content-Type": FORM, "Accept": "text/html"})
            answer = connection.getresponse()
            return SimpleNamespace(status=answer.status, headers=answer.headers, text=answer.read().decode())

    def post(self, path: str, **form: str) -> None:
        """Send a form, as of the page `/`."""
        csrf = re.search(r'name="csrf" value="([^"]+)"', self._ask("GET", "/").text)
        assert csrf
        assert self._ask("POST", path, csrf=csrf[1], **form).status == 303

    def look(self, path: str) -> Page | None:
        """The page, None where it is a file. Neither may be a fault of ours."""
        answer = self._ask("GET", path)
        assert answer.status < 500, path
        return Page(answer.text) if answer.headers["Content-Type"].startswith("text/html") else None

    def walk(self, paths: Iterable[str]) -> Iterator[tuple[str, Page]]:
        """These pages, and of those that links lead to from there one of each look."""
        waiting, looks = list(paths), set()
        for path in waiting:
            if page := self.look(path):
                yield path, page
            for to in [urlsplit(urljoin(path, link)) for link in page.links] if page else ():
                look = look_of(to.path, to.query)
                if to.path.startswith("/") and not to.netloc and look not in looks:
                    looks.add(look)
                    waiting.append(to._replace(fragment="").geturl())


def look_of(path: str, query: str) -> tuple[str, ...]:
    """The same for addresses of pages that differ in their subject alone: whose parts with digits are others, and values of the query."""
    return re.sub(r"[^/]*\d[^/]*", "", path), *sorted(
        re.sub(r"^(?!action|section|code|kind)(\w+)=.*", r"\1", each) for each in query.split("&")
    )


def assert_inert(pages: dict[str, Page], words: Iterable[str]) -> None:
    """Nothing on any of the pages would run, and each of these texts stands on one of them at least, as it was written."""
    assert {path: page.runs for path, page in pages.items() if page.runs} == {}
    said = "".join(page.words for page in pages.values())
    assert [text for text in words if text not in said] == []


def routes_of(pages: Iterable[str], *, is_sandbox: bool = False) -> set[str]:
    return {route_of(path, is_sandbox=is_sandbox) for path in pages if path.partition("?")[0] not in {"/docs", "/openapi.json"}}


def test_markup_in_any_text_of_an_order_is_inert_on_every_page_of_the_console(written):  # A7
    service, reader = written.service, Reader(written.service.ports[1], TOKENS["operator"])
    today = next(link for link in reader.look("/takings").links if re.fullmatch(r"/takings/[\d-]+", link))
    reader.post(f"{today}/compare")
    eventually(lambda: "Compared with Dojo, asked" in reader.look(today).words)
    orders = [f"/orders/{order_id}" for order_id in ("till-dead", "till-paid", *written.dojos)]
    entries = [f"/journal/{number}" for number in range(1, service.auditor.get("/api/export").body.count(b"\n") + 1)]
    previews = [f"/outbox/{written.dead}/stop", "/orders/till-dead/resolve?action=acknowledge&code=OUTBOX_DEAD", "/orders/till-dead/erase"]
    pages = dict(reader.walk(["/", today, *orders, *entries, *previews]))
    assert routes_of(pages) >= PAGES
    assert_inert(pages, [text for place, text in written.texts.items() if place not in NOWHERE] + [*written.others.values()])


def test_markup_in_any_text_of_an_order_is_inert_on_the_phone_and_on_dojos_panel(written):  # A7
    seat = {"table": written.table, "currency": "GBP"}
    asked = {"table": {}, "bill": {}, "menu": {}, "basket": {f"of-{menu.menu('GBP')[0].key}": "1", "note": f"{MARKUP}wish"}}
    phone = [f"/phone/{page}?{urlencode(seat | more)}" for page, more in asked.items()]
    paths = [
        "/phone",
        *phone,
        f"/phone/bill?{urlencode(seat | {'order': 'till-dead'})}",
        f"/phone/flows/{written.flow}?{urlencode(seat)}",
        "/panel",
        f"/panel/intents/{written.intent}",
    ]
    pages = dict(Reader(urlsplit(written.sandbox.url).port).walk(paths))
    assert routes_of(pages, is_sandbox=True) >= PHONE | PANEL
    assert_inert(
        pages, [written.texts["items.name"], *(written.others[name] for name in ("table", "area")), f"{MARKUP}reference", f"{MARKUP}wish"]
    )
