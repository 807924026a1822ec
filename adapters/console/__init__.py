"""The venue's console: pages that say what happened, what is stuck and why, and the few things that a person may do about it.

One view, one template, one question it answers. Pages read the journal and act through the engine, as `/api` does.
"""

from adapters.console.desk import Desk, Front
from adapters.console.jobs import Jobs
from adapters.console.pages import make_blueprint, make_closed_blueprint
from adapters.console.sessions import Sessions
from adapters.console.setup_desk import SetupDesk

__all__ = ["Desk", "Front", "Jobs", "Sessions", "SetupDesk", "make_blueprint", "make_closed_blueprint"]
