"""The entries of the journal as people read them: a list of them, and one with its columns, its facts and its proof."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from flask import request
from werkzeug.exceptions import NotFound

from adapters.console.site import Site
from adapters.edge.asked import one_of, position
from adapters.edge.strict_json import BadInput
from workflow.audit import TOLD
from workflow.entry import KINDS
from workflow.errors import JournalDamaged
from workflow.journal.reads import StoredEntry
from workflow.journal.witness import Head
from workflow.ledger import root_from_inclusion

ENTRIES_SHOWN = 50
LAST_POSITION = 2**63 - 1
ORDER_CHARACTERS = 255

SAYS = {
    "transition": "An order, a payment or the kitchen moved from one state to another, as declared.",
    "payment": "Something was recorded of a payment.",
    "event": "Dojo said that something happened; we read it there before we believe it.",
    "check": "A payment intent was read at Dojo.",
    "effect": "A call to Dojo or the till was taken, or given up.",
    "lock": "Dojo’s write lock on the order was taken, kept or let go.",
    "attention": "Something came to need a person, or needs one no longer.",
    "operator": "A person did something, with a reason.",
    "system": "The service did or refused something by itself.",
}
"""What each kind of entry is, in words."""
_TOLD = (*TOLD, "difference", "date")

COLUMNS = {
    "seq": ("Position", "Its place in the journal: 1, 2, 3 and so on without gaps."),
    "at": ("When", "By this machine’s clock."),
    "order_id": ("Order", "Whose entry it is; empty for what concerns no order."),
    "order_seq": ("Number in its order", "Counted from 1; the chain of hashes follows it."),
    "kind": ("Kind", ""),
    "machine": ("Machine", "Which declaration it moved by, and the hash of that."),
    "trigger": ("Trigger", "Which row of the declaration, or what was done."),
    "from_state": ("From", "The state before; empty where there was none."),
    "to_state": ("To", "The state after."),
    "payment_intent_id": ("Payment intent", "Dojo’s id of the payment that it is about."),
    "actor": ("Who", "Dojo, the till, a person, or a part of this service."),
    "cause": ("Cause", "The message or command that led to it."),
    "prev_hash": ("Hash before", "That of the order’s entry before this one; zeros for the first."),
    "hash": ("Hash", "SHA-256 over all of the above and the facts: whoever changes one of them changes this."),
}
"""The columns of an entry as people read them: names, and what they mean."""


def entries_listed(site: Site) -> dict[str, Any]:
    """What the list shows of the order and kind that are asked for. Raises BadInput."""
    order_id, kind = request.args.get("order") or None, one_of("kind", request.args.get("kind") or None, KINDS)
    if order_id is not None and len(order_id) > ORDER_CHARACTERS:
        raise BadInput("order", f"expected at most {ORDER_CHARACTERS} characters")
    before = position("before", request.args.get("before") or None) or LAST_POSITION
    before = min(before, site.desk.reads.size() + 1)
    entries, following = site.desk.reads.entries_back(before, ENTRIES_SHOWN, order_id=order_id, kind=kind)
    filters = {name: value for name, value in (("order", order_id), ("kind", kind)) if value}
    return {
        "entries": entries,
        "filters": filters,
        "kinds": SAYS,
        "older": f"/journal?{urlencode({**filters, 'before': following})}#entries" if following else "",
        "is_newest": before > site.desk.reads.size(),
        "looked_to": following,
        "summary": summary,
    }


def entry_told(site: Site, seq: int) -> dict[str, Any]:
    """What the page of one entry shows. Raises NotFound."""
    entry, reads = entry_found(site, seq), site.desk.reads
    values = entry._asdict()
    signed = reads.newest_checkpoint()
    return {
        "entry": entry,
        "says": SAYS.get(entry.kind, ""),
        "summary": summary(entry),
        "columns": [(name, *COLUMNS[name], values[name]) for name in COLUMNS],
        "body": json.dumps(_facts(entry), indent=2, ensure_ascii=False) if _facts(entry) else entry.body,
        "size": reads.size(),
        "in_order": [reads.entry(entry.order_id, entry.order_seq + step) if entry.order_id else None for step in (-1, 1)],
        "signed": signed and Head(signed[0], signed[1]),
        "proof": _inclusion(site, entry, signed),
    }


def entry_found(site: Site, seq: int) -> StoredEntry:
    """The entry at this position. Raises NotFound."""
    entry = site.desk.reads.entry_at(seq) if 0 < seq <= LAST_POSITION else None
    if entry is None:
        raise NotFound(f"there is no entry {seq}: the journal has {site.desk.reads.size():,}")
    return entry


def summary(entry: StoredEntry) -> str:
    """What happened, in a line."""
    if entry.kind == "transition":
        return f"{entry.machine.partition('@')[0]}: {entry.trigger}, {entry.from_state or 'new'} → {entry.to_state}"
    facts = _facts(entry)
    told = (str(facts[name]) for name in _TOLD if facts.get(name) and not (entry.kind == "check" and name == "outcome"))
    return " ".join(word.replace("_", " ") for word in (entry.trigger, *told) if word)


def _facts(entry: StoredEntry) -> dict[str, Any]:
    try:
        return dict(entry.entry().body)
    except (JournalDamaged, TypeError, ValueError):  # What a broken journal has there; the page says that it is broken.
        return {}


def _inclusion(site: Site, entry: StoredEntry, signed: tuple[int, str, str] | None) -> tuple[bool, int] | None:
    """Whether the entry's hash leads to the signed root, and over how many others; None while nothing signed covers it."""
    if signed is None or signed[0] < entry.seq:
        return None
    try:
        proven = site.desk.prover.receipt_at(entry.seq)
        path = [bytes.fromhex(node) for node in proven.entry.path]
        return root_from_inclusion(entry.hash, entry.seq - 1, proven.size, path).hex() == proven.root, len(path)
    except (JournalDamaged, ValueError):  # A neighbour is gone, or what stands there is no hash: this page is where one looks for it.
        return False, 0
