"""The venue's console: pages that say what happened, what is stuck and why, and the few things that a person may do about it.

One view, one template, one question it answers. Pages read the journal and act through the engine, as `/api` does.
"""

from adapters.console.desk import Desk
from adapters.console.pages import make_blueprint
from adapters.console.setup_desk import SetupDesk

__all__ = ["Desk", "SetupDesk", "make_blueprint"]
