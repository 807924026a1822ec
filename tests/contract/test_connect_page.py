"""docs/connect-your-till.md says what is: its requests are made, in their order, of a running service, and its answers compared."""

from __future__ import annotations

import inspect
import json
import re
import shlex

import pytest

from adapters.till.callbacks import sign
from tests.contract.running import ROOT, Client, Service, eventually, free_port, running
from tests.contract.test_readme import leads_somewhere, run
from tests.contract.test_till_callbacks import SECRET, Till, example
from workflow.clock import from_text

PAGE = ROOT / "docs" / "connect-your-till.md"
TEXT = PAGE.read_text("utf-8")
FENCE = re.compile(r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL)
BLOCKS = list(FENCE.finditer(TEXT))
ANYTHING = "…"


def blocks(kind):
    return [match["body"] for match in BLOCKS if match["kind"] == kind]


def read(text):
    """JSON in which an ellipsis may stand for any value."""
    return json.loads(re.sub(r"(?<=[:\[,] )…(?=[,}\]\n])", '"…"', text))


def difference(shown, found, where="answer"):
    """Where what is shown is not what was found; "" where it is. Objects may have more than is shown."""
    if shown == ANYTHING:
        return ""
    if isinstance(shown, dict) and isinstance(found, dict):
        parts = [difference(value, found.get(name, "nothing"), f"{where}.{name}") for name, value in shown.items()]
        return next(filter(None, parts), "")
    if isinstance(shown, list) and isinstance(found, list) and len(shown) == len(found):
        return next(filter(None, [difference(a, b, where) for a, b in zip(shown, found, strict=True)]), "")
    if isinstance(shown, str) and isinstance(found, str):
        pattern = ".*".join(map(re.escape, shown.split(ANYTHING)))
        return "" if re.fullmatch(pattern, found, re.DOTALL) else f"{where}: {shown!r} is shown, {found!r} came"
    return "" if shown == found and type(shown) is type(found) else f"{where}: {shown!r} is shown, {found!r} came"


class Replay:
    """Makes the page's requests; what an ellipsis stands for in a request is what the last answer had there."""

    def __init__(self, service, till):
        self.service, self.till, self.order_id, self.after, self.statuses = service, till, "", 0, []

    def make(self, block, mark):
        asked, _, told = block.partition("→ ")
        line, _, body = asked.partition("\n")
        method, path = line.split()
        status, _, shown = told.partition("\n")
        path = path.replace("after=…", f"after={self.after}").replace("tp_…", self.order_id)
        client = self.service.dojo if mark == "what Dojo does meanwhile" else self.service.till
        assert path.startswith("/v1/" if mark else "/till/"), line
        reply = client.call(method, path, body.encode() or None)
        assert reply.status == int(status), f"{line}: {reply.status} {reply.body}"
        assert difference(read(shown), reply.json) == "", line
        self.statuses.append(int(status))
        if reply.json.get("id", "").startswith("tp_"):
            self.order_id = reply.json["id"]
            eventually(lambda: self.till.about(self.order_id))  # Before the page changes the order further.
            self.after = self.position() if self.after == 0 else self.after

    def position(self):
        """Where the feed stood before the order that Dojo has just created."""
        return next(item["seq"] for item in self.service.till.get("/till/feed").json["data"] if item["orderId"] == self.order_id) - 1


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    till = Till()
    try:
        with running(tmp_path_factory.mktemp("page"), TILL_URL=till.url, TILL_SECRET=SECRET) as service:
            replay = Replay(service, till)
            for match in BLOCKS:
                if match["kind"] == "http":
                    replay.make(match["body"], match["mark"])
            yield replay, till
    finally:
        till.stop()


def test_every_request_of_the_page_gets_the_answer_that_is_shown(replayed):
    replay, _ = replayed
    assert len(replay.statuses) == len(blocks("http")) >= 15
    assert set(replay.statuses) == {200, 400, 404, 409}


def test_a_call_back_looks_as_the_page_shows_it(replayed):
    replay, till = replayed
    (shown,) = blocks("json")
    news = till.about(replay.order_id)[0].news
    assert difference(read(shown), news) == ""
    assert set(news) == set(read(shown))


@pytest.mark.parametrize(
    ("status", "ask"),
    [
        (401, lambda service: service.open.get("/till/feed")),
        (403, lambda service: service.auditor.get("/till/feed")),
        (405, lambda service: service.till.call("DELETE", "/till/orders/t7-0042")),
        (413, lambda service: service.till.call("PUT", "/till/areas", b"[" + b" " * 2_000_000 + b"]")),
        (415, lambda service: service.till.call("PUT", "/till/areas", b"[]", content_type="text/plain")),
    ],
)
def test_a_status_of_the_table_is_what_it_says(replayed, status, ask):
    replay, _ = replayed
    assert f"\n| {status} |" in TEXT
    assert ask(replay.service).status == status


def test_the_code_that_checks_a_signature_is_the_example_s_and_fits_the_vector():
    (shown,) = blocks("python")
    assert shown == inspect.getsource(example.is_genuine)
    (vector,) = blocks("text")
    secret = re.search(r'till_secret = "(.*)"', TEXT)[1]
    assert example.is_genuine(b"{}", vector.strip(), secret, 1773489600)
    assert sign(b"{}", secret, from_text("2026-03-14T12:00:00.000Z")) == vector.strip()


def test_the_venue_on_a_desk_stands_with_these_settings_and_serves_these_customers(tmp_path):
    (settings,) = [match["body"] for match in BLOCKS if match["mark"] == "the desk's settings"]
    (commands,) = blocks("sh")
    service = Service(tmp_path)
    ports = {"8080": service.ports[0], "8090": free_port()}
    listens = f'listen = "127.0.0.1:{service.ports[0]}"\nconsole_listen = "127.0.0.1:{service.ports[1]}"\n'
    (tmp_path / "tillproof.toml").write_text(moved(settings, ports) + listens)
    service.settings, till = {}, Client(service.ports[1], "Bearer 4b1d9a6e5f0c4b0e9a77")
    try:
        service.start()
        assert till.call("PUT", "/till/tables", [{"id": "tbl_7", "name": "7"}, {"id": "tbl_9", "name": "9"}]).status == 200
        assert till.post("/till/orders", example.BILL).status == 200
        ends = [
            run(["tillproof", *shlex.split(line)[1:], "--port", str(ports["8090"])], tmp_path)
            for line in moved(commands, ports).splitlines()
        ]
    finally:
        service.kill()
    assert [(end.exit_code, "Done: order" in end.stdout) for end in ends] == [(0, True)] * 3, [end.output for end in ends]


def moved(text, ports):
    """The same at ports that are free on this machine."""
    for written, free in ports.items():
        text = text.replace(f":{written}", f":{free}")
    return text


def test_every_block_of_the_page_is_tried_and_every_link_leads_somewhere():
    assert TEXT.count("```") == 2 * len(BLOCKS)
    assert {match["kind"] for match in BLOCKS} == {"http", "json", "python", "sh", "text", "toml"}
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", TEXT) if "://" not in link]
    assert links
    assert [link for link in links if not leads_somewhere(link, PAGE)] == []


def test_a_page_that_lies_would_be_noticed():
    assert difference({"a": [1, {"b": "x…z"}]}, {"a": [1, {"b": "x y z", "more": 1}], "more": 2}) == ""
    for lie in ({"a": 1}, {"a": [1]}, {"b": 1}, {"a": [1, {"b": "x…y"}]}, {"a": [True, {"b": "…"}]}):
        assert difference(lie, {"a": [1, {"b": "x y z"}]})
