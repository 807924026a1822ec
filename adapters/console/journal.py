"""`/journal`: is it whole, does it explain what is stored, and every entry of it. Verifying, replaying and sealing are jobs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import Forbidden, NotFound

from adapters.console.jobs import Job
from adapters.console.site import Site
from adapters.edge.strict_json import BadInput, shown
from workflow import export, replay, sealing
from workflow.entry import KINDS
from workflow.errors import JournalDamaged, Refused
from workflow.journal.keys import load_key
from workflow.journal.reads import SqliteReads, StoredEntry
from workflow.journal.witness import Head, read_head
from workflow.ledger import root_from_inclusion
from workflow.succession import fingerprint, verifier_key
from workflow.upkeep import Report, Upkeep

VERIFY, REPLAY, SEAL = "verify", "replay", "seal"
ENTRIES_SHOWN = 50
LAST_POSITION = 2**63 - 1
ORDER_CHARACTERS = 255
SENT_AT_ONCE = 262_144
"""Bytes of a sealed copy that go out in one piece."""
NEEDED_TIMES = 3
"""A sealed copy takes its journal's size, its views some more, and as much again while it is made."""

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
_TOLD = ("event", "effect", "status", "outcome", "mismatch", "code", "refused", "requeued", "name", "difference", "date")

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


def pages(site: Site) -> Blueprint:
    """The journal, its jobs, its entries, its files."""
    blueprint = Blueprint("journal", __name__)
    _add_reading(blueprint, site)
    _add_jobs(blueprint, site)
    _add_files(blueprint, site)
    return blueprint


def _add_reading(blueprint: Blueprint, site: Site) -> None:
    @blueprint.get("/journal")
    def show() -> Response:
        """Whether the journal is whole, what signs it, and its entries, newest first."""
        return site.page("journal.html", **_overview(site), **_list(site))

    @blueprint.get("/journal/<int:seq>")
    def entry(seq: int) -> Response:
        """One entry, with all that it says and what proves it."""
        return site.page("journal_entry.html", **_entry(site, seq))


def _add_jobs(blueprint: Blueprint, site: Site) -> None:
    desk = site.desk

    @blueprint.post("/journal/verify")
    def verify() -> Response:
        """Begin to verify the whole journal."""
        upkeep = _upkeep(site)
        desk.jobs.start(VERIFY, _name(site), lambda job: upkeep.verify(job.bar))
        return site.to("/journal")

    @blueprint.post("/journal/replay")
    def replay_() -> Response:
        """Begin to add up every order again from its entries, and compare."""
        _upkeep(site)
        desk.jobs.start(REPLAY, _name(site), lambda job: _replayed(desk.journal, job), is_gentle=True)
        return site.to("/journal")

    @blueprint.post("/journal/seal")
    def seal() -> Response:
        """Begin to seal a copy, as an operator."""
        site.require("operator")
        _upkeep(site)
        personal = request.form.get("personal") == "with"
        _require_space(desk.journal)
        desk.jobs.start(SEAL, _name(site), lambda job: _sealed(site, job, personal=personal), is_gentle=True)
        return site.to("/journal")


def _add_files(blueprint: Blueprint, site: Site) -> None:
    desk = site.desk

    @blueprint.get("/journal/sealed.db")
    def sealed() -> Response:
        """The copy that was sealed last; kept for half an hour."""
        job = cast("Job[Copy] | None", desk.jobs.latest(SEAL))
        copy = job.outcome if job else None
        content = copy.read() if copy else None
        if copy is None or content is None:
            raise NotFound("there is no sealed copy here now: seal one")
        if copy.sealed.personal and not site.may("operator"):
            content.close()
            raise Forbidden("this copy holds what customers said of themselves: it is for operators")
        return _download(content, "application/vnd.sqlite3", copy.name, copy.sealed.bytes)

    @blueprint.get("/journal/export.<form>")
    def export_(form: str) -> Response:
        """Every entry, as JSON Lines or CSV."""
        if form not in export.FORMATS:
            raise NotFound(f"expected export.{' or export.'.join(export.FORMATS)}")
        chunks = (chunk for _, chunk in export.chunks(desk.reads, form))
        return _download(chunks, "text/csv" if form == "csv" else "application/x-ndjson", f"journal.{form}")

    @blueprint.get("/journal/checkpoint.txt")
    def checkpoint() -> Response:
        """The newest signed checkpoint."""
        newest = desk.reads.newest_checkpoint()
        if newest is None:
            raise NotFound("nothing is signed yet")
        return _download(iter([newest[2].encode()]), "text/plain", f"checkpoint-{newest[0]}.txt")

    @blueprint.get("/journal/<int:seq>/receipt.json")
    def receipt(seq: int) -> Response:
        """The receipt of one entry, proved."""
        _found(site, seq)
        if (desk.reads.newest_checkpoint_size() or 0) < seq:
            raise Refused("no checkpoint covers this entry yet: it takes a second")
        content = msgspec.json.encode(desk.prover.receipt_at(seq))
        return _download(iter([content]), "application/json", f"entry-{seq}.json", len(content))


def _name(site: Site) -> str:
    return site.session.actor.name


def _upkeep(site: Site) -> Upkeep:
    if site.desk.upkeep is None:
        raise Refused("the journal cannot be written at this moment: what takes long is left until it can")
    return site.desk.upkeep


# -- whether it is whole


def _overview(site: Site) -> dict[str, Any]:
    desk = site.desk
    report, size, newest = desk.health.verified(), desk.reads.size(), desk.reads.newest_checkpoint()
    jobs = {name: desk.jobs.latest(name) for name in (VERIFY, REPLAY, SEAL)}
    origin = desk.reads.origin()
    sealed = cast("Job[Copy] | None", jobs[SEAL])
    copy = sealed.outcome if sealed else None
    return {
        "report": report,
        "standing": _standing(report),
        "size": size,
        "signed": newest and Head(newest[0], newest[1]),
        "origin": origin,
        "keys": _keys(site, origin),
        "witness": _witness(desk.witness),
        "jobs": jobs,
        "copy": copy if copy and not copy.is_closed else None,
        "can_work": desk.upkeep is not None,
        "is_under_way": any(job and job.is_running for job in jobs.values()),
    }


def _keys(site: Site, origin: str) -> list[dict[str, object]]:
    """Every key that signs, oldest first; none where what the journal says of them is not to be believed."""
    with suppress(JournalDamaged, ValueError):
        return [
            {"key": verifier_key(origin, key), "fingerprint": fingerprint(key), "first": first, "last": last}
            for key, first, last in site.desk.reads.succession(site.desk.sealer.public_key).spans()
        ]
    return []


def _standing(report: Report | None) -> str:
    """`unknown`, `broken` or `whole`."""
    return "unknown" if report is None else "broken" if report.fault else "whole"


def _witness(path: Path) -> Head | None:
    with suppress(OSError):
        return read_head(path)
    return None


# -- jobs


def _replayed(journal: Path, job: Job[object]) -> replay.Replay:
    found = replay.replay(SqliteReads(journal), bar=job.bar)
    found.rebuilt = replay.Replayed()  # Every order of the journal: nobody asks for them here.
    return found


@dataclass(slots=True)
class Copy:
    """A sealed copy without a name: it is gone from the disk with this process, or once it is closed."""

    sealed: sealing.Sealed
    name: str
    descriptor: int
    is_closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> _Reading | None:
        """Its bytes, by a descriptor of their own, since it may be put away meanwhile; None where it was."""
        with self._lock:
            return None if self.is_closed else _Reading(os.dup(self.descriptor))

    def close(self) -> None:
        """Let the disk have its room back."""
        with self._lock:
            if not self.is_closed:
                self.is_closed = True
                os.close(self.descriptor)


class _Reading:
    """The bytes of an open file from its beginning; whoever sends them closes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._offset = descriptor, 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = os.pread(self._descriptor, SENT_AT_ONCE, self._offset)
        if not chunk:
            raise StopIteration
        self._offset += len(chunk)
        return chunk

    def close(self) -> None:
        os.close(self._descriptor)


def _sealed(site: Site, job: Job[object], *, personal: bool) -> Copy:
    """Seal in a folder of our own (0700), and take the file's name away: whatever happens to this process, nothing stays."""
    desk = site.desk
    with tempfile.TemporaryDirectory(prefix="tillproof-sealed-") as folder:
        made = sealing.seal(
            desk.journal,
            Path(folder) / "sealed.db",
            witness=desk.witness,
            key=desk.sealer.public_key,
            signer=load_key(desk.signing_key),
            bar=job.bar,
            zone=desk.zone,
            personal=personal,
            clock=desk.clock,
        )
        descriptor = os.open(made.path, os.O_RDONLY)
    what = "sealed" if personal else "sealed-without-personal"
    return Copy(made, f"tillproof-{what}-{made.entries}.db", descriptor)


def _require_space(journal: Path) -> None:
    """Refuse what would fill the disk: a full one keeps the journal from being written. Raises Refused."""
    size = sum(path.stat().st_size for path in (journal, Path(f"{journal}-wal")) if path.exists())
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < NEEDED_TIMES * size:
        megabytes = [f"{each // 1_000_000:,} MB" for each in (NEEDED_TIMES * size, free)]
        raise Refused(f"a sealed copy needs {megabytes[0]} in {tempfile.gettempdir()}, and {megabytes[1]} are free")


# -- its entries


def _list(site: Site) -> dict[str, Any]:
    order_id, kind = request.args.get("order") or None, request.args.get("kind") or None
    if order_id is not None and len(order_id) > ORDER_CHARACTERS:
        raise BadInput("order", f"expected at most {ORDER_CHARACTERS} characters")
    if kind is not None and kind not in KINDS:
        raise BadInput("kind", f"expected one of {', '.join(KINDS)}, got {shown(kind)}")
    before = _position("before") or LAST_POSITION
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
        "quoted": lambda text: quote(text, safe=""),
    }


def _position(name: str) -> int | None:
    text = request.args.get(name) or None
    if text is not None and not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise BadInput(name, f"expected a position in the journal, from 1 on, got {shown(text)}")
    return int(text) if text else None


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


def _found(site: Site, seq: int) -> StoredEntry:
    entry = site.desk.reads.entry_at(seq) if 0 < seq <= LAST_POSITION else None
    if entry is None:
        raise NotFound(f"there is no entry {seq}: the journal has {site.desk.reads.size():,}")
    return entry


def _entry(site: Site, seq: int) -> dict[str, Any]:
    entry, reads = _found(site, seq), site.desk.reads
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
        "quoted": lambda text: quote(text, safe=""),
    }


def _inclusion(site: Site, entry: StoredEntry, signed: tuple[int, str, str] | None) -> tuple[bool, int] | None:
    """Whether the entry's hash leads to the signed root, and over how many others; None while nothing signed covers it."""
    if signed is None or signed[0] < entry.seq:
        return None
    proven = site.desk.prover.receipt_at(entry.seq)
    path = [bytes.fromhex(node) for node in proven.entry.path]
    return root_from_inclusion(entry.hash, entry.seq - 1, proven.size, path).hex() == proven.root, len(path)


def _download(content: Iterator[bytes], kind: str, name: str, length: int | None = None) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    response = Response(content, mimetype=kind, headers=headers)
    if length is not None:
        response.content_length = length
    return response
