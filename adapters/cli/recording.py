"""What really went over the wire in each flow, with stable names for ids, so that sequence diagrams can be drawn from it."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import requests

from adapters.capabilities import wanted
from adapters.cli.demo import BILL, TABLE
from adapters.cli.local import Place, dojo_client, let_rest, place, service
from adapters.sandbox import Message, Sandbox
from workflow.journal.reads import SqliteReads
from workflow.money import Money

CALL_SECONDS = 10.0
_NAMES = {"pi_sandbox": "intent", "tp": "order", "ord": "dojo_order", "evt": "event"}
_ID = re.compile(r"\b(pi_sandbox|tp|ord|evt)_[\w-]+")
_OPENED = {"direction": ">>", "method": "POST", "path": "/till/orders", "status": 200, "note": "the till opens a bill"}


def record(folder: Path) -> list[str]:
    """Play both flows and write what was said to `folder`, a JSON file a flow; the names of the files."""
    with tempfile.TemporaryDirectory(prefix="tillproof-record-") as scratch:
        where, sandbox = place(Path(scratch)), Sandbox()
        sandbox.start()
        try:
            with service(where, sandbox):
                flows = _play(where, sandbox)
        finally:
            sandbox.stop()
    for name, messages in flows.items():
        (folder / f"{name}.json").write_text(json.dumps(messages, indent=1) + "\n", "utf-8")
    return [f"{name}.json" for name in flows]


def _play(where: Place, sandbox: Sandbox) -> dict[str, list[dict[str, object]]]:
    dojo_client(sandbox).register(wanted(where.public_url, "epos-demo", where.password))
    reads, begun = SqliteReads(where.journal), len(sandbox.messages())
    sandbox.order_and_pay(tips=Money(300, "GBP"))
    let_rest(reads)
    middle = len(sandbox.messages())
    headers = {"Authorization": f"Bearer {where.tokens['till']}"}
    requests.post(f"{where.venue_url}/till/orders", json=BILL, headers=headers, timeout=CALL_SECONDS).raise_for_status()
    let_rest(reads)
    sandbox.pay_only(TABLE)
    let_rest(reads)
    messages = sandbox.messages()
    return {"order_and_pay": _stable(messages[begun:middle]), "pay_only": [_OPENED, *_stable(messages[middle:])]}


def _stable(messages: tuple[Message, ...]) -> list[dict[str, object]]:
    """Without times, and with ids that say what they are, numbered as they appear."""
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        kind = _NAMES[found[1]]
        return names.setdefault(found[0], f"{kind}_{sum(known.startswith(kind + '_') for known in names.values()) + 1}")

    return [
        {
            "direction": message.direction,
            "method": message.method,
            "path": _ID.sub(name, message.path),
            "status": message.status,
            "note": _ID.sub(name, message.note),
        }
        for message in messages
    ]
