"""What both sides say about themselves: it is what is served, it is fresh, and it agrees with what Dojo publishes."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from adapters.capabilities import CAPABILITIES, SERVED
from adapters.cli.openapi import FOLDER, SIDES, stale
from adapters.edge.api_page import example, page
from adapters.edge.openapi import encode
from adapters.epos.document import dojo_document
from adapters.venue import venue_document
from tests.contract.running import a_bill, an_order, running

DOCUMENTS = {"dojo": dojo_document(), "venue": venue_document()}
BOTH = pytest.mark.parametrize("side", DOCUMENTS)


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def body_of(operation):
    return operation["requestBody"]["content"]["application/json"]["schema"]


def validator(document, schema):
    return Draft202012Validator(schema | {"components": document["components"]}, format_checker=FormatChecker())


def requests_of(side):
    return [(path, method, operation) for path, method, operation in operations(DOCUMENTS[side]) if "requestBody" in operation]


# -- the documents


@BOTH
def test_the_committed_copy_is_what_is_served(side):
    make, name = SIDES[side]
    assert (FOLDER / name).read_bytes() == encode(make()), "write it anew: tillproof openapi --write"


def test_a_changed_copy_is_called_stale(tmp_path):
    for make, name in SIDES.values():
        (tmp_path / name).write_bytes(encode(make()))
    assert stale(tmp_path) == []
    (tmp_path / "openapi.json").write_bytes(encode(venue_document()))
    assert stale(tmp_path) == ["openapi.json"]


@BOTH
def test_every_schema_is_a_schema_and_every_reference_leads_somewhere(side):
    document = DOCUMENTS[side]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in re.findall(r'"\$ref": ?"#/([^"]*)"', json.dumps(document)):
        found = document
        for step in reference.split("/"):
            found = found[step]


@BOTH
def test_operation_ids_are_unique_and_every_type_is_used(side):
    ids = [operation["operationId"] for _, _, operation in operations(DOCUMENTS[side])]
    assert len(ids) == len(set(ids))
    text = json.dumps(DOCUMENTS[side])
    assert [name for name in DOCUMENTS[side]["components"]["schemas"] if f'schemas/{name}"' not in text] == []


@BOTH
def test_what_strangers_read_names_none_of_our_code(side):
    texts = re.findall(r'"(?:description|summary)": ?"([^"]*)"', json.dumps(DOCUMENTS[side]))
    assert [text for text in texts if re.search(r"`|§|CONTRACT|to_moment|\bself\b|[a-z]_[a-z]+\(", text)] == []


# -- the running service


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running(tmp_path_factory.mktemp("openapi"), WEBHOOK_SECRETS="whsec_1") as service:
        yield service


def client(service, side):
    return service.dojo if side == "dojo" else service.open


@BOTH
def test_the_document_and_the_page_are_public_and_what_the_program_makes(side, service):
    asked = client(service, side)
    document, shown = asked.get("/openapi.json", authorization=None), asked.get("/docs", authorization=None)
    assert (document.status, document.headers["content-type"], document.body) == (200, "application/json", encode(DOCUMENTS[side]))
    html, policy = page(DOCUMENTS[side])
    assert (shown.status, shown.headers["content-type"], shown.body.decode()) == (200, "text/html; charset=utf-8", html)
    assert shown.headers["content-security-policy"] == policy


@BOTH
def test_an_operation_says_truly_whether_it_needs_credentials(side, service):
    for path, method, operation in operations(DOCUMENTS[side]):
        body = {} if "requestBody" in operation else None
        status = client(service, side).call(method.upper(), re.sub("{.*?}", "nothing", path), body, authorization=None).status
        assert (status == 401) == bool(operation["security"]), path
        assert ("401" in operation["responses"]) == bool(operation["security"]), path


@BOTH
def test_the_example_of_each_request_is_understood(side, service):
    """It is not refused as malformed; its ids exist only as far as earlier examples made them."""
    for name in ("catalogue", "tables", "areas"):  # As they are before the venue's own examples, which may have been sent.
        assert service.till.call("PUT", f"/till/{name}", []).status == 200
    order = service.till.post("/till/orders", a_bill()).json["id"]
    for path, method, operation in requests_of(side):
        if operation["security"] == [{"signature": []}]:
            continue  # The same body as of the other events, and a signature.
        role = re.search(r"role (\w+)", operation.get("description", ""))
        asked = getattr(service, role[1]) if role else service.dojo
        body = example(body_of(operation), DOCUMENTS[side]["components"]["schemas"])
        url = path.replace("{orderId}", order).replace("{order_id}", order).replace("{lockId}", "lock_3vT9")
        answer = asked.call(method.upper(), re.sub("{.*?}", "nothing", url), body)
        assert answer.status in {200, 404, 409}, (path, body, answer.body)
        assert_is_said(side, operation, answer)


@BOTH
@pytest.mark.parametrize("query", ["", "?after=x&limit=x&from=x&state=x&code=x"])
def test_what_is_read_is_answered_as_the_document_says(side, service, query):
    """An order with an entry of each kind but a person's, attention that stands, calls that wait; and what is asked for wrongly."""
    order = service.till.post("/till/orders", a_bill(id="documented")).json["id"]
    service.dojo.post("/v1/orders", an_order("documented", intent_id="pi_documented"))
    assert service.till.post("/till/orders", a_bill(id="documented", total=1)).status == 409
    for path, method, operation in operations(DOCUMENTS[side]):
        if method == "get":
            role = re.search(r"role (\w+)", operation.get("description", ""))
            asked = getattr(service, role[1]) if role else client(service, side)
            for url in {re.sub("{.*?}", each, path) for each in (order, "nothing")}:
                assert_is_said(side, operation, asked.get(url + query))
                assert_is_said(side, operation, asked.get(url + query, authorization=None))


def assert_is_said(side, operation, answer):
    """The document has this status for the operation, and the answer is of its type and obeys its schema."""
    said = operation["responses"].get(str(answer.status))
    assert said, (operation["operationId"], answer.status, answer.body)
    said = DOCUMENTS[side]["components"]["responses"][said["$ref"].rpartition("/")[2]] if "$ref" in said else said
    kinds = said.get("content", {})
    if not kinds:
        assert answer.body == b"", operation["operationId"]
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in kinds, (operation["operationId"], kind)
    if kind == "application/json":
        validator(DOCUMENTS[side], kinds[kind]["schema"]).validate(answer.json)


@BOTH
def test_the_example_of_each_request_obeys_its_schema(side):
    for path, _, operation in requests_of(side):
        made = example(body_of(operation), DOCUMENTS[side]["components"]["schemas"])
        assert validator(DOCUMENTS[side], body_of(operation)).is_valid(made), (path, made)


def test_a_rule_over_several_fields_is_in_the_document():
    schemas = DOCUMENTS["dojo"]["components"]["schemas"]

    def is_valid(name, value):
        return validator(DOCUMENTS["dojo"], schemas[name]).is_valid(value)

    assert is_valid("Cursor", {"after": "x"})
    assert not is_valid("Cursor", {"after": "x", "before": "y"})
    assert is_valid("OrderDetailsRequest", {"orderType": "DineIn", "dineIn": {}})
    assert not is_valid("OrderDetailsRequest", {"orderType": "DineIn", "collection": {}})
    event = {"id": "evt_1", "accountId": "acc_1", "event": "payment_intent.created", "createdAt": "2026-03-14T12:00:00Z"}
    assert not is_valid("EventRequestBody", event)
    assert is_valid("EventRequestBody", event | {"event": "something.new"})
    assert is_valid("EventRequestBody", event | {"data": {"paymentIntentId": "pi_1", "paymentStatus": "Created"}})


# -- the page


class Page(HTMLParser):
    """What a page holds: tags, ids, links."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.links, self.policy_breaks = set(), [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.add(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.policy_breaks += [name for name in given if name == "style" or name.startswith("on") or name == "src"]


@BOTH
def test_the_page_shows_every_operation_and_every_type_and_its_links_lead_somewhere(side):
    shown = Page(page(DOCUMENTS[side])[0])
    wanted = {operation["operationId"] for _, _, operation in operations(DOCUMENTS[side])}
    wanted |= {f"type-{name}" for name in DOCUMENTS[side]["components"]["schemas"]}
    assert wanted <= set(shown.ids)
    assert len(shown.ids) == len(set(shown.ids))
    assert {link for link in shown.links if link.removeprefix("#") not in shown.ids} == {"/openapi.json"}


@BOTH
def test_the_page_needs_nothing_that_its_policy_forbids(side):
    html, policy = page(DOCUMENTS[side])
    shown = Page(html)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not shown.tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    assert shown.policy_breaks == []
    assert html.count("<style>") == policy.count("sha256-") == 1
    assert "http://" not in html
    assert "https://" not in html


# -- beside what Dojo publishes


LIMIT = "(maxLength|minLength|maxItems|minimum|maximum|pattern|format)"
INTENDED = (
    # difference, as a pattern                                  reason
    (rf"request .*: {LIMIT} stricter", "no till can serve texts, lists and figures of any size; ids are visible text"),
    (r"request .*: additionalProperties looser", "unknown fields are dropped: Dojo's own examples carry some"),
    (r"answer .*: additionalProperties looser", "types are shared with requests; an answer holds what its type has and no more"),
    (rf"answer .*: {LIMIT} stricter", "types are shared with requests"),
    (r"answer .*: required stricter", "what may be left out is sent all the same: Dojo computes from it what is left to pay"),
    (r"request OrderDetails: (anyOf|properties) .*", "the object of the same name as orderType is needed, not just one of the two"),
    (r"answer OrderDetails: anyOf differs", "the same"),
    (r"request CollectionDetails: properties looser collectionTime", "Dojo's own example spells collectAt so"),
    (r"answer BillText: required differs", "the size is always sent; ours has a default, so that our schema does not say it"),
    (
        r"answer BillLine(\.lineType)?: (named|enum|properties absent|anyOf) .*",
        "one type a kind of line, with the part that its lineType names",
    ),
    (r"(request|answer) .*\.tableIds: (minLength looser|minItems stricter)", "a list's length is published as if it were a text"),
    (r"request Cursor: not stricter", "the descriptions say that before and after exclude each other"),
    (
        r"request (Payment|PartyDeposit|OrderDetails|CollectionDetails): named differs",
        "one published type has two of ours: what may come, what is sent",
    ),
)
"""Every difference that is meant, with its reason. `looser` and `stricter` are what we are beside what is published."""

LIMITS = {"maxLength": -1, "maxItems": -1, "maximum": -1, "minLength": 1, "minItems": 1, "minimum": 1}
"""Which way a limit is stricter: a lower maximum, a higher minimum."""


class Comparison:
    """The differences between what Dojo publishes for the operations that are served, and what we say."""

    def __init__(self, published, ours):
        self.published, self.ours, self.found = published, ours, set()
        self.seen = set()
        for path, method in served(published):
            self.operation(path, published["paths"][path], published["paths"][path][method], ours["paths"].get(path, {}).get(method))

    def operation(self, path, item, theirs, ours):
        if ours is None:
            self.note(f"{path}: absent")
            return
        if theirs.get("operationId") not in (None, ours["operationId"]):
            self.note(f"{path}: operationId {ours['operationId']} for {theirs['operationId']}")
        parameters = [self.resolve(self.published, one) for one in (*item.get("parameters", ()), *theirs.get("parameters", ()))]
        if {(one["name"], one["in"]) for one in parameters} != {(one["name"], one["in"]) for one in ours.get("parameters", ())}:
            self.note(f"{path}: parameters differ")
        if ("requestBody" in theirs) != ("requestBody" in ours):
            self.note(f"{path}: requestBody")
        elif "requestBody" in theirs:
            self.schema("request", path, body_of(theirs), body_of(ours))
        self.answer(path, theirs["responses"]["200"], ours["responses"]["200"])
        for status, error in ours["responses"].items():
            if status != "200":
                self.answer(path, theirs["responses"][f"{status[0]}XX"], self.resolve(self.ours, error))

    def answer(self, path, theirs, ours):
        theirs, ours = theirs.get("content", {}), ours.get("content", {})
        if theirs.keys() != ours.keys():
            self.note(f"{path}: media {[*ours]} for {[*theirs]}")
        for media in theirs.keys() & ours.keys():
            self.schema("answer", path, theirs[media]["schema"], ours[media]["schema"])

    def resolve(self, document, part):
        while "$ref" in part:
            found = document
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    def schema(self, way, place, theirs, ours):
        if "$ref" in theirs:
            name = theirs["$ref"].rpartition("/")[2]
            if "$ref" in ours:
                place, own = name, ours["$ref"].rpartition("/")[2]
                if own != name:
                    self.note(f"{way} {place}: named differs {own}")
        key = (way, place, json.dumps(theirs), json.dumps(ours))
        if key in self.seen:
            return
        self.seen.add(key)
        for choice in ours.get("anyOf", ()) if "$ref" in theirs else ():
            self.schema(way, place, theirs, choice)
        if "anyOf" in ours and "$ref" in theirs:
            return
        theirs, ours = self.resolve(self.published, theirs), self.resolve(self.ours, ours)
        self.compare(way, place, theirs, ours)
        self.inner(way, place, theirs, ours)

    def inner(self, way, place, theirs, ours):
        mine, yours = ours.get("properties", {}), theirs.get("properties", {})
        for name in mine.keys() - yours.keys():
            self.note(f"{way} {place}: properties looser {name}")
        for name in yours.keys() - mine.keys():
            self.note(f"{way} {place}: properties absent {name}")
        for name in yours.keys() & mine.keys():
            self.schema(way, f"{place}.{name}", yours[name], mine[name])
        if "items" in theirs:
            self.schema(way, f"{place}[]", theirs["items"], ours.get("items", {}))

    def compare(self, way, place, theirs, ours):
        kind = theirs.get("type", "object" if "properties" in theirs else None)
        if kind != ours.get("type"):
            self.note(f"{way} {place}: type {ours.get('type')} for {kind}")
        if set(theirs.get("enum", ())) != set(ours.get("enum", ())):
            self.note(f"{way} {place}: enum {ours.get('enum')} for {theirs.get('enum')}")
        needed, wanted = set(ours.get("required", ())), set(theirs.get("required", ()))
        if needed != wanted:
            self.note(f"{way} {place}: required {'stricter' if needed > wanted else 'differs'} {sorted(needed ^ wanted)}")
        if theirs.get("additionalProperties", True) != ours.get("additionalProperties", True):
            self.note(f"{way} {place}: additionalProperties {'looser' if ours.get('additionalProperties', True) else 'stricter'}")
        for word in ("pattern", "format", "anyOf", "oneOf", "not", "default"):
            if word == "default" and word not in theirs:
                continue  # Ours only says what absence means.
            if theirs.get(word) != ours.get(word):
                self.note(f"{way} {place}: {word} {'stricter' if word not in theirs else 'looser' if word not in ours else 'differs'}")
        for word, sign in LIMITS.items():
            self.limit(way, place, word, theirs.get(word), ours.get(word), sign)

    def limit(self, way, place, word, theirs, ours, sign):
        if theirs != ours:
            stricter = ours is not None and (theirs is None or (ours - theirs) * sign > 0)
            self.note(f"{way} {place}: {word} {'stricter' if stricter else 'looser'}")

    def note(self, difference):
        self.found.add(difference)


def served(published):
    """The published operations whose capabilities are served."""
    for one in CAPABILITIES:
        if one.name in SERVED and one.method.lower() in published["paths"].get(one.path, {}):
            yield one.path, one.method.lower()


@pytest.fixture(scope="module")
def published(specs):
    return json.loads((specs / "epos-data-api.json").read_text("utf-8"))


def test_every_difference_from_what_dojo_publishes_is_meant(published):
    found = Comparison(published, DOCUMENTS["dojo"]).found
    unmeant = [one for one in found if not any(re.match(rf"(?:{pattern})(?: |$)", one) for pattern, _ in INTENDED)]
    assert sorted(unmeant) == []


def test_every_meant_difference_is_there(published):
    found = Comparison(published, DOCUMENTS["dojo"]).found
    assert [pattern for pattern, _ in INTENDED if not any(re.match(rf"(?:{pattern})(?: |$)", one) for one in found)] == []


def test_what_is_said_to_be_served_for_dojo_is_what_is_registered(published):
    said = {(path, method) for path, method, _ in operations(DOCUMENTS["dojo"]) if path.startswith("/v1/")}
    assert said - {("/v1/events", "post")} == set(served(published))
    assert [path for path, _ in said if path != "/v1/events" and path not in published["paths"]] == []
