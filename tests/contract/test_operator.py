"""An operator's command to the running server: what it says is told as it is, and what something else says is not believed."""

from __future__ import annotations

import pytest

from adapters.cli.operator import Operator
from adapters.setting_kinds import Token
from tests.contract.misbehaving_server import MisbehavingServer, answer, raw
from workflow.commands import EraseOrder, ResolveOrder
from workflow.errors import JournalUnavailable, LogHeld, Refused, ServerSilent, UnknownOrder
from workflow.ports import OrderId

OURS = {"X_Trace_Id": "5d1f"}
RESOLVE = ResolveOrder(order_id=OrderId("o1"), action="acknowledge", reason="so", actor="operator:jo")
ERASE = EraseOrder(order_id=OrderId("o1"), reason="so", actor="operator:jo")


def ask(behaviour, command=RESOLVE):
    with MisbehavingServer(behaviour) as server:
        Operator(("127.0.0.1", server.port), [Token("operator", "jo", "token")]).ask(command)
        return server.seen


def told(text: str) -> dict[str, str]:
    return {"errorType": "UnexpectedError", "debugMessage": text, "traceId": "5d1f"}


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(200, {"ok": True}),
        answer(200, b"<html>", **OURS),
        answer(200, [], **OURS),
        answer(404, b"<html>Not Found</html>"),
        answer(404, {"detail": "Not Found"}),
        answer(503, b"busy"),
        answer(302, b"", Location="/login"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["other JSON", "a page", "a list", "a page that is not there", "other JSON that is not there", "busy", "elsewhere", "nothing"],
)
def test_what_answers_and_is_not_ours_neither_did_it_nor_knows_that_there_is_no_such_order(behaviour):
    with pytest.raises(ServerSilent, match="CONSOLE_LISTEN"):
        ask(behaviour)


@pytest.mark.parametrize(
    ("behaviour", "command", "error", "said"),
    [
        (answer(404, told("no order o1"), **OURS), RESOLVE, UnknownOrder, "no order o1"),
        (answer(409, told("nothing stands"), **OURS), RESOLVE, Refused, "the server says 409: nothing stands"),
        (answer(503, told("(DISK_FULL), nothing was changed"), **OURS), RESOLVE, JournalUnavailable, "DISK_FULL"),
        (answer(503, told("(DISK_FULL), nothing was changed"), **OURS), ERASE, JournalUnavailable, "DISK_FULL"),
        (answer(503, told(LogHeld.TOLD), **OURS), ERASE, LogHeld, "it is erased, but"),
    ],
)
def test_what_our_server_says_is_told_as_it_is(behaviour, command, error, said):
    with pytest.raises(error) as found:
        ask(behaviour, command)
    assert type(found.value) is error
    assert said in str(found.value)


def test_what_our_server_did_is_done():
    [seen] = ask(answer(200, {"id": "o1"}, **OURS))
    assert seen.target == "/api/orders/o1/resolve"
    assert seen.header("authorization") == "Bearer token"
