"""Which orders a person or a program asks for, by the same parameters everywhere: the console's address, `/api/orders` and the command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from adapters.edge.asked import one_of
from adapters.edge.strict_json import BadInput, shown
from adapters.edge.wire import TableBody
from workflow.books import Day
from workflow.clock import to_text
from workflow.journal.reads import OrderFilter
from workflow.lifecycle import ORDER
from workflow.order import FLOWS

NAMES = ("search", "state", "flow", "table", "from", "to", "attention")
"""The parameters, in the order in which they are written."""
TEXT_CHARACTERS = 255
YEARS = range(2000, 9998)
SWITCH = {"true": True, "1": True, "false": False, "0": False}
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """What was asked for: `table` is an id or a name as the till gave it, `first` and `last` are days of the venue, both included."""

    search: str | None = None
    state: str | None = None
    flow: str | None = None
    table: str | None = None
    first: date | None = None
    last: date | None = None
    attention: bool = False

    def parameters(self) -> dict[str, str]:
        """The same as text, without what is not asked for."""
        first, last = (day.isoformat() if day else None for day in (self.first, self.last))
        values = (self.search, self.state, self.flow, self.table, first, last, "true" if self.attention else None)
        return {name: value for name, value in zip(NAMES, values, strict=True) if value is not None}

    def filter(self, zone: ZoneInfo, tables: Sequence[TableBody]) -> OrderFilter:
        """What the journal is asked for. `tables` are those of the till. Raises BadInput where several have the table's name."""
        return OrderFilter(
            text=self.search,
            text_tables=tuple(_named(self.search, tables)) if self.search else (),
            state=self.state,
            flow=self.flow,
            table_id=_table_id(self.table, tables) if self.table else None,
            from_time=to_text(Day(self.first, zone).start) if self.first else None,
            to_time=to_text(Day(self.last, zone).end) if self.last else None,
            attention=self.attention,
        )


def order_query(given: Mapping[str, str]) -> OrderQuery:
    """Read the parameters that are given. Raises BadInput naming the one that means nothing."""
    first, last = _day("from", given), _day("to", given)
    if first and last and last < first:
        raise BadInput("to", f"expected a day from {first.isoformat()} on, got {last.isoformat()}")
    return OrderQuery(
        search=_text("search", given) or None,
        state=one_of("state", given.get("state"), ORDER.states),
        flow=one_of("flow", given.get("flow"), FLOWS),
        table=_text("table", given) or None,
        first=first,
        last=last,
        attention=_switch("attention", given),
    )


def _text(name: str, given: Mapping[str, str]) -> str:
    text = given.get(name, "")
    if len(text) > TEXT_CHARACTERS:
        raise BadInput(name, f"expected at most {TEXT_CHARACTERS} characters")
    return text


def _day(name: str, given: Mapping[str, str]) -> date | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        day = date.fromisoformat(text) if re.fullmatch(DAY, text, re.ASCII) else None
    except ValueError:
        day = None
    if day is None or day.year not in YEARS:
        raise BadInput(name, f"expected a day such as 2026-07-03, got {shown(text)}")
    return day


def _switch(name: str, given: Mapping[str, str]) -> bool:
    value = given.get(name, "false")
    if value not in SWITCH:
        raise BadInput(name, f"expected true or false, got {shown(value)}")
    return SWITCH[value]


def _table_id(text: str, tables: Sequence[TableBody]) -> str:
    """A table is meant by its id, or else by its name; one that the till has not given is found by its id all the same."""
    found = [] if any(table.id == text for table in tables) else _named(text, tables)
    if len(found) > 1:
        raise BadInput("table", f"expected the id of one of the tables called {shown(text)}: {', '.join(found)}")
    return found[0] if found else text


def _named(name: str, tables: Sequence[TableBody]) -> list[str]:
    return [table.id for table in tables if table.name.casefold() == name.casefold()]
