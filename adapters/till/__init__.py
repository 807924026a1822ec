"""The venue's till: its API. Authenticates by token, parses, hands over, answers."""

from adapters.till.api import TillSettings, make_blueprint

__all__ = ["TillSettings", "make_blueprint"]
