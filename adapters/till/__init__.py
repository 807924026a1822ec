"""The venue's till: its API. Authenticates by token, parses, hands over, answers."""

from adapters.till.api import TillApi, TillSettings

__all__ = ["TillApi", "TillSettings"]
