"""The venue's till: its API and its call-backs. It parses, hands over, answers, signs what it sends, and decides nothing."""

from adapters.till.api import TillApi, TillSettings
from adapters.till.callbacks import CallBackSettings, TillCaller

__all__ = ["CallBackSettings", "TillApi", "TillCaller", "TillSettings"]
