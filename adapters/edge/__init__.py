"""What every inbound adapter shares: strict JSON, Dojo's wire types, error answers, credentials, and what pages look like.

It knows HTTP and Dojo's spelling but no rules of an order, and imports nothing of `adapters` but itself.
"""

from adapters.edge.answers import error_answer, install, json_body, trace_id
from adapters.edge.credentials import Actor, BasicCredentials, Tokens
from adapters.edge.strict_json import BadInput, BodyTooLarge

__all__ = ["Actor", "BadInput", "BasicCredentials", "BodyTooLarge", "Tokens", "error_answer", "install", "json_body", "trace_id"]
