"""`/journal`: is it whole, does it explain what is stored, and every entry of it. Verifying, replaying and sealing are jobs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import Forbidden, NotFound

from adapters.console.entries import entries_listed, entry_found, entry_told
from adapters.console.files import attached
from adapters.console.jobs import Job
from adapters.console.sealed import Copy, make_copy, require_memory, require_space
from adapters.console.site import Site
from workflow import export, replay
from workflow.errors import JournalDamaged, Refused
from workflow.journal.reads import SqliteReads
from workflow.journal.witness import Head, read_head
from workflow.succession import fingerprint, verifier_key
from workflow.upkeep import Report, Upkeep

VERIFY, REPLAY, SEAL = "verify", "replay", "seal"


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
        return site.page("journal.html", **_overview(site), **entries_listed(site))

    @blueprint.get("/journal/<int:seq>")
    def entry(seq: int) -> Response:
        """One entry, with all that it says and what proves it."""
        return site.page("journal_entry.html", **entry_told(site, seq))


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
        require_memory(desk.reads.size())
        desk.jobs.start(REPLAY, _name(site), lambda job: _replayed(desk.journal, job), is_gentle=True)
        return site.to("/journal")

    @blueprint.post("/journal/seal")
    def seal() -> Response:
        """Begin to seal a copy, as an operator."""
        site.require("operator")
        _upkeep(site)
        personal = request.form.get("personal") == "with"
        require_memory(desk.reads.size())
        require_space(desk.journal)
        if desk.jobs.start(SEAL, _name(site), lambda job: make_copy(desk, job, personal=personal), is_gentle=True) is None:
            raise Refused("a copy is being sealed already, perhaps of the other kind: wait for it, then seal yours")
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
        return attached(content, "application/vnd.sqlite3", copy.name, copy.sealed.bytes)

    @blueprint.get("/journal/export.<form>")
    def export_(form: str) -> Response:
        """Every entry, as JSON Lines or CSV."""
        if form not in export.FORMATS:
            raise NotFound(f"expected export.{' or export.'.join(export.FORMATS)}")
        chunks = (chunk for _, chunk in export.chunks(desk.reads, form))
        return attached(chunks, "text/csv" if form == "csv" else "application/x-ndjson", f"journal.{form}")

    @blueprint.get("/journal/checkpoint.txt")
    def checkpoint() -> Response:
        """The newest signed checkpoint."""
        newest = desk.reads.newest_checkpoint()
        if newest is None:
            raise NotFound("nothing is signed yet")
        return attached(iter([newest[2].encode()]), "text/plain", f"checkpoint-{newest[0]}.txt")

    @blueprint.get("/journal/<int:seq>/receipt.json")
    def receipt(seq: int) -> Response:
        """The receipt of one entry, proved."""
        entry_found(site, seq)
        if (desk.reads.newest_checkpoint_size() or 0) < seq:
            raise Refused("no checkpoint covers this entry yet: it takes a second")
        content = msgspec.json.encode(desk.prover.receipt_at(seq))
        return attached(iter([content]), "application/json", f"entry-{seq}.json", len(content))


def _name(site: Site) -> str:
    return site.session.actor.name


def _upkeep(site: Site) -> Upkeep:
    if site.desk.upkeep is None:
        raise Refused("the journal cannot be written at this moment: what takes long is left until it can")
    return site.desk.upkeep


def _overview(site: Site) -> dict[str, Any]:
    desk = site.desk
    jobs = {name: desk.jobs.latest(name) for name in (VERIFY, REPLAY, SEAL)}  # First: a page that sees one ended sees what it found.
    report, size, newest = desk.health.verified(), desk.reads.size(), desk.reads.newest_checkpoint()
    origin = desk.reads.origin()
    sealed = cast("Job[Copy] | None", jobs[SEAL])
    copy = sealed.outcome if sealed else None
    return {
        "report": report,
        "standing": _standing(report, size),
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


def _standing(report: Report | None, size: int) -> str:
    """`unknown`, `broken`, `empty` (there was nothing to verify, and by now there is), or `whole`."""
    if report is None:
        return "unknown"
    if report.fault:
        return "broken"
    return "empty" if size and not report.entries else "whole"


def _witness(path: Path) -> Head | None:
    with suppress(OSError):
        return read_head(path)
    return None


def _replayed(journal: Path, job: Job[object]) -> replay.Replay:
    found = replay.replay(SqliteReads(journal), bar=job.bar)
    found.rebuilt = replay.Replayed()  # Every order of the journal: nobody asks for them here.
    return found
