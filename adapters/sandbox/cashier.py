"""Money moved by hand, over Dojo's API or on the panel: the ledger changes, then the POS hears of it in the background. Contract §7.6."""

from __future__ import annotations

from adapters.sandbox import magic
from adapters.sandbox.channels import Channels
from adapters.sandbox.errors import IntentRefused
from adapters.sandbox.events import Events
from adapters.sandbox.intents import Intent, Intents
from adapters.sandbox.refunds import Refund, RefundRequest, Refunds
from adapters.sandbox.wire import EVENT_STATUS_UPDATED
from workflow.money import Money


class Cashier:
    """Every method raises UnknownIntent and IntentRefused, and leaves then the intent as it was."""

    def __init__(self, *, channels: Channels, events: Events, intents: Intents, refunds: Refunds) -> None:
        self._channels, self._events, self._intents, self._refunds = channels, events, intents, refunds

    def pay(self, intent_id: str) -> Intent:
        """The customer pays an intent that nobody has paid: authorised or captured. Raises IntentRefused for a declined card, too."""
        intent = self._intents.read(intent_id)
        if magic.spell_of(intent.due).declined:
            raise IntentRefused(f"the card is declined for {intent.due}; {intent_id} stays {intent.status}")
        return self._told(self._intents.authorise(intent_id) if intent.capture_mode == "Manual" else self._intents.capture(intent_id))

    def capture(self, intent_id: str, amount: Money | None = None, *, tips: Money | None = None) -> Intent:
        """Take what a Manual intent holds, or a part of it."""
        return self._told(self._intents.capture(intent_id, amount, tips=tips))

    def cancel(self, intent_id: str) -> Intent:
        """Nobody will pay it."""
        return self._told(self._intents.cancel(intent_id))

    def reverse(self, intent_id: str) -> Intent:
        """Undo it in full."""
        return self._told(self._intents.reverse(intent_id))

    def refund(self, key: str, wanted: RefundRequest) -> tuple[Refund, bool]:
        """Give money back, and whether that is new: the same key gives it once. Raises InvalidRequest where Dojo does not allow it."""
        made, is_new = self._refunds.give(key, wanted)
        if is_new:
            self.tell(self._intents.read(wanted.intent_id))
        return made, is_new

    def tell(self, intent: Intent, event: str = EVENT_STATUS_UPDATED) -> None:
        """Tell the POS of it as it is now, by every channel that it has registered."""
        self._events.send_in_background(self._channels.registered(event), intent, event)

    def _told(self, intent: Intent) -> Intent:
        self.tell(intent)
        return intent
