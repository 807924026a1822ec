"""Dojo's side as we call it: its REST API through `requests`, and the capabilities that we register there.

It translates between Dojo's wire and `workflow.ports`; it decides nothing, tries nothing twice and knows no other destination.
"""

from adapters.capabilities import CAPABILITIES, SERVED, Capability, Difference, Registration, RestIntegration, difference, wanted
from adapters.dojo.client import DojoClient, DojoSettings

__all__ = [
    "CAPABILITIES",
    "SERVED",
    "Capability",
    "Difference",
    "DojoClient",
    "DojoSettings",
    "Registration",
    "RestIntegration",
    "difference",
    "wanted",
]
