"""`tillproof orders erase` and `tillproof bookings erase`: personal data that are not kept any longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import click

from adapters.cli.acting import actor, reason_option
from adapters.cli.context import Program, failures, json_option, open_journal, settings
from adapters.cli.output import Command, Group, emit
from adapters.edge.strict_json import visible
from adapters.settings import Settings
from workflow.clock import to_text
from workflow.commands import EraseGuest, EraseOrder, OperatorCommand
from workflow.errors import Refused
from workflow.journal.reads import SqliteReads
from workflow.ports import OrderId

_before = click.option("--before", metavar="DATE", type=click.DateTime(["%Y-%m-%d"]), help="Instead of one: all made before that day.")
_preview = click.option("--preview", is_flag=True, help="With --before: list them, and erase nothing.")
_reason = reason_option("Why; journaled for ever with who you are, so repeat nothing of what is erased.", required=False)


@click.command("erase", cls=Command, example='tillproof orders erase tp_019ab2c4d5e6 --reason "a customer asked, letter 12"')
@click.argument("order_id", required=False)
@_before
@_preview
@_reason
@json_option
@click.pass_obj
def erase_orders(program: Program, order_id: str | None, before: datetime | None, preview: bool, reason: str | None, as_json: bool) -> None:
    """Erase an order's personal data for good: customer, display name and notes.

    Only of orders that are over; twice is once. Money, journal and proofs stay as they are, and whatever comes for the order later is not
    kept. Dojo and the till are told, and see to their own copies. Sealed copies and backups that were made before still have it all.
    """
    kind = _Kind(
        command=lambda each: EraseOrder(order_id=OrderId(each), reason=reason or "", actor=actor()),
        made_before=SqliteReads.orders_with_personal,
        erased=_erased_order,
        following="tillproof orders show {}",
    )
    _erase(program, kind, order_id, before, preview=preview, has_reason=bool(reason), as_json=as_json)


@click.group("bookings", cls=Group, example='tillproof bookings erase pty_019ab2c4d5e6 --reason "a guest asked, letter 13"')
def bookings() -> None:
    """Parties and reservations."""


@bookings.command("erase", cls=Command, example='tillproof bookings erase pty_019ab2c4d5e6 --reason "a guest asked, letter 13"')
@click.argument("booking_id", required=False)
@_before
@_preview
@_reason
@json_option
@click.pass_obj
def erase_bookings(
    program: Program, booking_id: str | None, before: datetime | None, preview: bool, reason: str | None, as_json: bool
) -> None:
    """Erase the guest of a party or reservation for good: name, requests and notes.

    Only of a party that has left, or a reservation whose time is over; as `orders erase` does. Dojo is not told, but reads it erased.
    """
    kind = _Kind(
        command=lambda each: EraseGuest(booking_id=each, reason=reason or "", actor=actor()),
        made_before=SqliteReads.bookings_with_guest,
        erased=_erased_booking,
        following="tillproof bookings erase --help",
    )
    _erase(program, kind, booking_id, before, preview=preview, has_reason=bool(reason), as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What is erased: the command for one, those made before a moment, what is said of one that is erased, what to run next."""

    command: Callable[[str], OperatorCommand]
    made_before: Callable[[SqliteReads, str], list[str]]
    erased: Callable[[SqliteReads, str], dict[str, object]]
    following: str


def _erase(
    program: Program, kind: _Kind, one: str | None, before: datetime | None, *, preview: bool, has_reason: bool, as_json: bool
) -> None:
    if (one is None) == (before is None) or (preview and before is None):
        raise click.UsageError("give one id, or --before and perhaps --preview")
    if not (preview or has_reason):
        raise click.UsageError("expected --reason TEXT, or --preview")
    found = settings()
    wanted = [one] if one else _made_before(found, kind, before)
    left: dict[str, str] = {}
    for each in [] if preview else wanted:
        with failures(refused=kind.following.format(each)):
            try:
                program.ask(found, kind.command(each))
            except Refused as error:
                if one:
                    raise
                left[each] = str(error)
    erased: list[dict[str, object]] = []
    if not preview:
        with open_journal() as (_, reads):
            erased = [kind.erased(reads, each) for each in wanted if each not in left]
    emit(as_json, {"found": wanted, "erased": erased, "left": left}, lambda: _lines(wanted, erased, left))


def _made_before(found: Settings, kind: _Kind, day: datetime | None) -> list[str]:
    """Those with personal data that were made before a day at the venue, oldest first."""
    assert day
    with open_journal() as (_, reads):
        return kind.made_before(reads, to_text(day.replace(tzinfo=found.timezone)))


def _erased_order(reads: SqliteReads, order_id: str) -> dict[str, object]:
    stored = reads.order(order_id)
    assert stored
    assert stored.order.erasure
    return {"id": order_id, "erasedAt": stored.order.erasure.at, "kinds": stored.order.erasure.kinds}


def _erased_booking(reads: SqliteReads, booking_id: str) -> dict[str, object]:
    erased = reads.erased_booking(booking_id)
    assert erased
    return {"id": booking_id, "erasedAt": erased.erased_at, "kinds": ["guest"]}


def _lines(wanted: Sequence[str], erased: Sequence[dict[str, object]], left: dict[str, str]) -> Iterator[str]:
    for each in erased:
        kinds = each["kinds"]
        assert isinstance(kinds, Sequence)
        yield f"{each['id']}  erased at {each['erasedAt']}: {', '.join(kinds) or 'nothing was known'}"
    yield from (f"{name}  left: {visible(why)}" for name, why in left.items())
    if erased:
        yield "Sealed copies and backups that were made before still have it: destroy them, or let them run out."
        return
    yield from () if left else wanted
    yield f"{len(wanted)} with personal data; nothing was erased."
