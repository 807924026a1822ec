"""Auditors' and operators' JSON: what is in the journal, read only."""

from adapters.api.routes import make_blueprint

__all__ = ["make_blueprint"]
