"""Messages between Dojo and a POS as arrows, one a line, as they end: `<-` Dojo calls the POS, `->` the POS calls Dojo."""

from __future__ import annotations

import re

from adapters.cli.output import paint
from adapters.sandbox import Message

WIDTH = 46
SHOWN_ID = 16
"""Longer ids are cut to this: the journal has them whole."""
_ID = re.compile(rf"\b(?:pi_sandbox|tp|ord|evt|lock|pty|dpty|rsv|drsv)_[\w-]{{{SHOWN_ID},}}")


def arrow(message: Message, note: str | None = None) -> str:
    """The line of one message; `note` replaces the message's own."""
    is_success = 200 <= message.status < 300
    line = f"  {message.direction} {message.method:<5} {shortened(message.path)}".ljust(WIDTH)
    status = paint(str(message.status or "none"), "green" if is_success else "red")
    return f"{line} {status} {message.milliseconds:>5} ms  {shortened(message.note if note is None else note)}".rstrip()


def shortened(text: str) -> str:
    """`text` with its long ids cut."""
    return _ID.sub(lambda found: found[0][:SHOWN_ID] + "…", text)
