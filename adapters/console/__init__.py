"""The venue's console: pages that say what happened, what is stuck and why, and the few things that a person may do about it.

One view, one template, one question it answers. Pages read the journal and act through the engine, as `/api` does.
"""

from adapters.console.desk import Desk
from adapters.console.jobs import Jobs
from adapters.console.pages import make_blueprint

__all__ = ["Desk", "Jobs", "make_blueprint"]
