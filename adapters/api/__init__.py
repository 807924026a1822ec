"""Auditors' and operators' JSON: what is in the journal, and what a person decides about it."""

from adapters.api.routes import Api

__all__ = ["Api"]
