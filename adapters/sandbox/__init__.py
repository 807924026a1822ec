"""A Dojo on your desk: keeps payment intents, serves Dojo's API over HTTP, drives a POS through its flows, fails when told.

It stands for the other side, so it shares nothing with our adapters and takes only money and time from `workflow`. Its pages for people
alone take their design, and the counting of wrong keys, from `adapters.edge`.
"""

from adapters.sandbox.basket import DEFAULT_PLU, Basket, basket_of, default_basket
from adapters.sandbox.control import control_routes
from adapters.sandbox.errors import CapabilityMissing, EventUndelivered, IntentRefused, InvalidRequest, SandboxError, UnknownIntent
from adapters.sandbox.faults import Fault, fault_defaults, fault_kinds
from adapters.sandbox.flow import (
    BOOKINGS,
    ORDER_AND_PAY,
    PAY_AT_TABLE,
    PAY_ONLY,
    Bookings,
    FlowResult,
    OptionalCapability,
    OrderAndPay,
    PayAtTable,
    PayOnly,
    Request,
    Step,
)
from adapters.sandbox.intents import Intent, Intents
from adapters.sandbox.magic import magic_table
from adapters.sandbox.registry import Pos
from adapters.sandbox.sandbox import Sandbox, run_forever
from adapters.sandbox.traffic import Message

__all__ = [
    "BOOKINGS",
    "DEFAULT_PLU",
    "ORDER_AND_PAY",
    "PAY_AT_TABLE",
    "PAY_ONLY",
    "Basket",
    "Bookings",
    "CapabilityMissing",
    "EventUndelivered",
    "Fault",
    "FlowResult",
    "Intent",
    "IntentRefused",
    "Intents",
    "InvalidRequest",
    "Message",
    "OptionalCapability",
    "OrderAndPay",
    "PayAtTable",
    "PayOnly",
    "Pos",
    "Request",
    "Sandbox",
    "SandboxError",
    "Step",
    "UnknownIntent",
    "basket_of",
    "control_routes",
    "default_basket",
    "fault_defaults",
    "fault_kinds",
    "magic_table",
    "run_forever",
]
