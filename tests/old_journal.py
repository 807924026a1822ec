"""A journal as an earlier program left it, killed in the middle of everything: orders of both flows in every state.

`python -m tests.old_journal tests/journals/NAME` writes NAME.sql, which is the whole database as statements, and NAME.witness, by the
program that it is run beside: give a new schema a journal of the one before it, made before the schema was changed. Nothing in it is of
a person. `schema-1` was written by commit 87f2703, whose tables are these and whose orders know less.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from adapters.dojo.client import DojoClient, DojoSettings
from adapters.sandbox import Sandbox
from tests.builders import WITH_TILL, FixedClock, Venue, a_party, a_reservation
from tests.contract.running import KEY, SOFTWARE_HOUSE_ID, a_bill
from workflow.bill import Bill, Personal
from workflow.booking import Guest
from workflow.commands import (
    AttemptFailed,
    CancelOrder,
    CreateBooking,
    CreateOrder,
    EffectTaken,
    IntentRead,
    LockOrder,
    OpenOrder,
    RecordPayment,
    RefuseOrder,
    SetVenue,
    ToldPayment,
)
from workflow.money import Money

FOLDER = Path(__file__).parent / "journals"
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(b"signs old journals of the tests."[:32])
LOCKED_UNTIL = "2026-03-15T08:00:00.000Z"
"""Some hours after everything, which is in the past of whoever reads this."""
TOTAL, TIPS = 1200, 150
LOCK = "lock_old"


def gbp(value: int) -> Money:
    return Money(value, "GBP")


def new_sandbox() -> Sandbox:
    """A Dojo whose clock stands at that time, and which gives the same ids each time."""
    numbers: Counter[str] = Counter()

    def new_id(prefix: str) -> str:
        numbers[prefix] += 1
        return f"{prefix}old_{numbers[prefix]}"

    return Sandbox(api_key=KEY, clock=FixedClock(), new_id=new_id, step_seconds=10, event_back_off_seconds=0.02)


class Past:
    """What happened until the program was killed. Without a `venue` only Dojo's part of it happens: its ledger is then the one it was.

    Orders are named by their flow (`oap`, `po`) and the state that they were left in; `intents` has the payment intent of each.
    """

    def __init__(self, sandbox: Sandbox, venue: Venue | None = None) -> None:
        self.dojo, self._sandbox, self._venue = sandbox.intents, sandbox, venue
        self.intents: dict[str, str] = {}
        self.event_ids: dict[str, str] = {}
        self._orders_and_pays()
        self._pays_only()
        self._others()

    # -- the orders

    def _orders_and_pays(self) -> None:
        self._ordered("oap-created", payments=())
        self._ordered("oap-authorised")
        self._captured("oap-captured")
        self._captured("oap-reconciled")
        self._perform("oap-reconciled", "read_intent", "tell_till")
        self._fail("oap-reconciled")
        self._captured("oap-updated")
        self._perform("oap-updated")
        self._captured("oap-refunded")
        self._perform("oap-refunded")
        self.dojo.refund(self.intents["oap-refunded"])
        self._say("oap-refunded", "Refunded")
        self._perform("oap-refunded")
        self._ordered("oap-reversed")
        self.dojo.reverse(self.intents["oap-reversed"])
        self._say("oap-reversed", "Reversed")
        self._perform("oap-reversed")
        self._ordered("oap-expired", pays=False)
        self.dojo.cancel(self.intents["oap-expired"])
        self._say("oap-expired", "Canceled")
        self._perform("oap-expired")
        self._ordered("oap-cancelled")
        self._ask(CancelOrder(order_id="oap-cancelled"))
        self._ordered("oap-failed")
        self._ask(RefuseOrder(order_id="oap-failed", reason="no more of it", actor="till:bar"))
        self._captured("oap-mismatch", amount=TOTAL + 100)
        self._perform("oap-mismatch", "read_intent", "tell_till")

    def _pays_only(self) -> None:
        self._opened("po-created")
        self._opened("po-locked")
        self._ask(LockOrder(order_id="po-locked", lock_id=LOCK, expires_at=LOCKED_UNTIL))
        self._opened("po-announced")
        self._say("po-announced", "Created")
        self._perform("po-announced")
        self._opened("po-authorised", mode="Manual")
        self.dojo.authorise(self.intents["po-authorised"])
        self._say("po-authorised", "Authorized")
        self._perform("po-authorised")
        self._opened("po-captured")
        self.dojo.capture(self.intents["po-captured"])
        self._ask(RecordPayment(order_id="po-captured", intent_id=self.intents["po-captured"], paid=gbp(TOTAL), tips=gbp(TIPS)))
        self._paid("po-parked")
        self._paid("po-reconciled")
        self._perform("po-reconciled", "read_intent", "tell_till")
        for name in ("po-updated", "po-refunded", "po-reversed"):
            self._paid(name)
            self._perform(name)
        self.dojo.refund(self.intents["po-refunded"])
        self._say("po-refunded", "Refunded")
        self._perform("po-refunded")
        self.dojo.reverse(self.intents["po-reversed"])
        self._say("po-reversed", "Reversed")
        self._perform("po-reversed")
        self._opened("po-cancelled")
        self._ask(CancelOrder(order_id="po-cancelled"))
        self._opened("po-failed")
        self._ask(RefuseOrder(order_id="po-failed", reason="no more of it", actor="till:bar"))

    def _others(self) -> None:
        """What is no order's: the till's word, guests without names, money for an order that the till does not have."""
        self._ask(SetVenue(name="taking_orders", value=True, actor="till:bar"))
        self._ask(CreateBooking(booking=a_party(), guest=Guest()))
        self._ask(CreateBooking(booking=a_reservation(), guest=Guest()))
        self.intents["orphan"] = self.dojo.make(gbp(TOTAL), reference="orphan", external_id="somebody-elses").id
        self.dojo.capture(self.intents["orphan"])
        self._say("orphan", "Captured")
        self._perform("orphan")

    # -- steps of them

    def _ordered(self, name: str, *, payments: tuple[int, ...] = (TOTAL,), amount: int = TOTAL, pays: bool = True) -> None:
        made = self.dojo.make(gbp(amount), reference=name, capture_mode="Manual", tips=gbp(TIPS), dojo_order_id=f"dojo-{name}")
        self.intents[name] = made.id
        if payments and pays:
            self.dojo.authorise(made.id)
        told = tuple(ToldPayment(intent_id=made.id, paid=paid, tips=TIPS) for paid in payments)
        self._ask(
            CreateOrder(order_id=name, dojo_order_id=f"dojo-{name}", bill=_bill(), personal=Personal(), payments=told, captured=False)
        )

    def _captured(self, name: str, *, amount: int = TOTAL) -> None:
        self._ordered(name, amount=amount)
        self.dojo.capture(self.intents[name])
        self._say(name, "Captured")

    def _opened(self, name: str, *, mode: str = "Auto") -> None:
        self.intents[name] = self.dojo.make(gbp(TOTAL), reference=name, capture_mode=mode, tips=gbp(TIPS), external_id=name).id
        self._ask(OpenOrder(order_id=name, key=name, bill=_bill(), personal=Personal(), actor="till:bar"))

    def _paid(self, name: str) -> None:
        self._opened(name)
        self.dojo.capture(self.intents[name])
        self._say(name, "Captured")

    def _ask(self, command: object) -> None:
        if self._venue:
            result = self._venue.engine.handle(command)
            assert getattr(result, "refusal", None) is None, (command, result)

    def _say(self, name: str, status: str) -> None:
        """Dojo's event of the intent's status."""
        event_id = self.event_ids[name] = f"evt_old_{name}_{status}"
        if self._venue:
            self._venue.event(self.intents[name], status, event_id=event_id)

    def _perform(self, name: str, *effects: str) -> None:
        """Do all that waits for this order, or of these effects alone; the rest stays with a worker that will not live to do it."""
        if not self._venue:
            return
        client = DojoClient(DojoSettings(url=self._sandbox.url, api_key=KEY, software_house_id=SOFTWARE_HOUSE_ID))
        while task := self._next_task(name, effects):
            is_read = task.effect == "read_intent"
            self._ask(IntentRead(task=task, intent=client.read_intent(task.intent_id)) if is_read else EffectTaken(task=task))
        client.close()

    def _fail(self, name: str) -> None:
        """The next task of the order has failed once and will be tried again."""
        if self._venue and (task := self._next_task(name, ())):
            self._ask(
                AttemptFailed(task=task, error="503 Service Unavailable", next_at_ms=int(self._venue.clock.now().timestamp() * 1000) + 500)
            )

    def _next_task(self, name: str, effects: tuple[str, ...]):
        for task in [*self._venue.tasks]:
            if (task.order_id == name or task.intent_id == self.intents[name]) and (not effects or task.effect in effects):
                self._venue.tasks.remove(task)
                return task
        return None


def _bill() -> Bill:
    return msgspec.convert(a_bill(total=TOTAL), Bill)


# -- the file


def write(target: Path) -> None:
    """Let it all happen, and keep what is on the disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_key(folder / "tillproof.key")
        venue, sandbox = Venue(folder, sends=WITH_TILL), new_sandbox()
        sandbox.start()
        try:
            Past(sandbox, venue)
        finally:
            sandbox.stop()
            venue.close()
        with closing(sqlite3.connect(folder / "tillproof.db")) as database:
            names = ("application_id", "user_version")
            marks = [f"PRAGMA {name} = {database.execute(f'PRAGMA {name}').fetchone()[0]};" for name in names]
            target.with_suffix(".sql").write_text("\n".join([*marks, *database.iterdump(), ""]), "utf-8")
        shutil.copy(folder / "tillproof.witness", target.with_suffix(".witness"))


def load(name: str, journal: Path) -> None:
    """The journal of this name at `journal`, its witness and key beside it, as the settings have them without being told."""
    with closing(sqlite3.connect(journal, isolation_level=None)) as database:
        database.executescript((FOLDER / f"{name}.sql").read_text("utf-8"))
    shutil.copy(FOLDER / f"{name}.witness", f"{journal}.witness")
    write_key(Path(f"{journal}.key"))
    for suffix in ("", ".witness", ".key"):
        Path(f"{journal}{suffix}").chmod(0o600)


def write_key(path: Path) -> None:
    path.write_bytes(SIGNING_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a journal in the middle of everything, as this program leaves it.")
    parser.add_argument("target", type=Path, help="the path without .sql")
    write(parser.parse_args().target)
