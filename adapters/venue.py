"""The venue's side as an OpenAPI document: the till's calls, the auditors', health and metrics."""

from __future__ import annotations

from adapters import health, metrics
from adapters.api import routes as auditors
from adapters.edge import api_page
from adapters.edge.openapi import Schema, document
from adapters.till import api as till

CALLS = (*till.CALLS, *auditors.CALLS, *health.CALLS, *metrics.CALLS, *api_page.CALLS)

TITLE = "Tillproof, the venue's side"
DESCRIPTION = (
    "What the till, auditors and operators ask. A 2xx answer to a change means that the change is on disk. Unknown fields are dropped; "
    "null counts as absent. Bodies are JSON in UTF-8 with unique keys and without NUL."
)
SCHEMES: dict[str, Schema] = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of the setting TOKENS; its role says what it may do."},
}


def venue_document() -> Schema:
    """The document of the venue's side."""
    return document(TITLE, DESCRIPTION, CALLS, SCHEMES)
