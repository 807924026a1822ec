"""What the sandbox refuses, and why a flow ended early.

SandboxError          root
  InvalidRequest      the request is malformed or names an impossible value (400)
  UnknownIntent       no payment intent has this id (404)
  UnknownRefund       no refund has this id (404)
  UnknownWebhook      no webhook subscription, or no secret of it, has this id (404)
  IntentRefused       Dojo does not allow this with the intent as it is (409)
  WebhookClash        the subscriptions do not allow this as they are (409)
  CapabilityMissing   the POS has not registered what this needs (409)
  UnknownEvent        no event has this id (404)
  StepFailed          a flow cannot go on; the text is the reason in its result
    PosRefused        the POS answered, and not with a 2xx; what it said stands apart
    NotSeen           the POS did not do in time what the flow waited for
    EventUndelivered  the POS took no 2xx with any of the attempts
    Stopped           the sandbox is being stopped
"""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are not the JSON it was asked for: wrong, not UTF-8, nested without end."""


class SandboxError(Exception):
    """Root of the tree."""


class InvalidRequest(SandboxError, ValueError):
    """The request is malformed; mend it. A `ValueError` too, so that msgspec names the field when it was parsed."""


class UnknownIntent(SandboxError):
    """No payment intent has this id, or it is a cancelled one and they were not asked for."""


class UnknownRefund(SandboxError):
    """No refund has this id."""


class UnknownWebhook(SandboxError):
    """No subscription has this id, or it has no such secret."""


class UnknownEvent(SandboxError):
    """No event has this id, or it is so old that it was forgotten."""


class IntentRefused(SandboxError):
    """The rules of contract §7.2 and §7.6 forbid it; the intent is unchanged."""


class WebhookClash(SandboxError):
    """Another subscription has the event, or the secret is the last active one; nothing is changed."""


class CapabilityMissing(SandboxError):
    """Register the named capability with `PUT /epos/integrations/rest`; each PUT replaces the whole list."""


class StepFailed(SandboxError):
    """The flow ends here; read the step and its detail."""


class PosRefused(StepFailed):
    """The POS answered outside 2xx; `status`, and what it `said` in words."""

    def __init__(self, reason: str, *, status: int, said: str) -> None:
        super().__init__(reason)
        self.status, self.said = status, said


class NotSeen(StepFailed):
    """The time of the step ran out."""


class BillBusy(SandboxError):
    """Somebody else pays the same bill at this moment, and it is not known what will be left."""


class EventUndelivered(StepFailed):
    """Every attempt was answered outside 2xx, or not at all; look at the POS's log."""


class Stopped(StepFailed):
    """The sandbox stops; nothing is wrong with the POS."""
