"""Which test proves which row of the specification of faults: `python -m tests.faults_covered --write` writes tests/FAULTS_COVERED.md.

A test names the rows that it proves in a comment that holds nothing else, `# K5` or `# K5 U16`, between `def` and its first
statement: at the end of the `def` line, where that was wrapped on its last line. A state machine names them on the line that makes
it a test, `TestVenue = Venue.TestCase  # I6`. Comments elsewhere, on the values of a parametrized test or above a group of tests, speak
to the reader alone: what is proved is proved by a whole test. `I3` is an invariant, `I-3` a row of hostile input.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
FILE = TESTS / "FAULTS_COVERED.md"

POSTGRESQL = "there is no PostgreSQL journal yet"
WEBSOCKET = "there is no WebSocket channel yet"


@dataclass(frozen=True, slots=True)
class Row:
    """One row in a few words of ours; `without` says why it, or that part of it, needs no test yet."""

    words: str
    without: str = ""
    whole: bool = True
    """False where `without` speaks of a part alone, and the rest needs its test."""


GROUPS: dict[str, dict[str, Row]] = {
    "Invariants": {
        "I1": Row("durable before a 2xx"),
        "I2": Row("money conserved"),
        "I3": Row("one change, one entry"),
        "I4": Row("declared transitions only"),
        "I5": Row("final states stay"),
        "I6": Row("replay equals what is stored"),
        "I7": Row("the chain verifies and only grows"),
        "I8": Row("every task ends"),
        "I9": Row("announced after the commit"),
        "I10": Row("events are hints, a read decides"),
        "I11": Row("the same again, the same answer"),
        "I12": Row("an accepted payment is never refused"),
        "I13": Row("no secret and no card number anywhere"),
        "I14": Row("no 5xx for any input"),
        "I15": Row("bounded memory, files, threads, WAL"),
        "I16": Row("one lock an order"),
        "I17": Row("nothing orders by time"),
        "I18": Row("authorised, with a name"),
        "I19": Row("the same bytes everywhere"),
        "I20": Row("nothing is silently stuck"),
    },
    "Delivery and duplicates": {
        "D1": Row("CreateOrder twice"),
        "D2": Row("CreateOrder again with other content"),
        "D3": Row("fifty of one CreateOrder at once"),
        "D4": Row("the same CreateOrder written otherwise"),
        "D5": Row("an event twice"),
        "D6": Row("an event on both channels under two ids"),
        "D8": Row("record-payment twice"),
        "D9": Row("record-payment again with other figures"),
        "D10": Row("record-payment and event of one intent"),
        "D12": Row("a webhook replayed a year later"),
        "D14": Row("an event of an unknown type"),
        "D15": Row("ten thousand copies of an event"),
    },
    "Ordering": {
        "O1": Row("capture before its order"),
        "O2": Row("capture during CreateOrder"),
        "O3": Row("status before created"),
        "O4": Row("authorised after captured"),
        "O6": Row("every order of arrival, one digest"),
        "O8": Row("an event whose order never comes"),
        "O9": Row("an event whose order is found by the read"),
        "O10": Row("searched between capture and reconcile"),
    },
    "Lost replies and concurrency": {
        "L1": Row("the reply is lost"),
        "L2": Row("the caller leaves within the body"),
        "L3": Row("the caller gives up waiting and asks again"),
        "L5": Row("two parts at once beyond the total"),
        "L6": Row("two events for one order at once"),
        "L7": Row("operator and worker take one task"),
        "L9": Row("cancelled twice"),
    },
    "Crashes": {
        "K1": Row("before the commit"),
        "K2": Row("after the commit, before the reply"),
        "K3": Row("between entry and state"),
        "K4": Row("before a task is sent"),
        "K5": Row("with a call on the wire"),
        "K6": Row("after the answer, before it is journaled"),
        "K7": Row("while holding a lease"),
        "K9": Row("during a checkpoint of the WAL"),
        "K10": Row("while the tables are made or changed"),
        "K11": Row("during export or verify"),
        "K13": Row("a thread of ours dies"),
        "K14": Row("killed for its memory under load"),
        "K16": Row("SIGTERM"),
    },
    "Dojo misbehaves": {
        "U1": Row("5xx"),
        "U2": Row("429 with Retry-After"),
        "U4": Row("our key refused"),
        "U5": Row("an announcement refused"),
        "U6": Row("an intent that Dojo does not know"),
        "U7": Row("409"),
        "U8": Row("out of reach"),
        "U9": Row("accepts and never answers"),
        "U10": Row("drips"),
        "U11": Row("answers garbage"),
        "U13": Row("redirects"),
        "U14": Row("answers JSON that nobody can mean"),
        "U16": Row("closes after our POST"),
        "U17": Row("one order fails for ever"),
        "U18": Row("hours away, tens of thousands of tasks wait"),
        "U19": Row("asks for the order inside our call"),
        "U20": Row("refuses every call for one reason"),
    },
    "Money does not match": {
        "M1": Row("other amount"),
        "M2": Row("other currency"),
        "M3": Row("another order's payment"),
        "M4": Row("said to be captured, is not"),
        "M5": Row("captured further than said"),
        "M6": Row("unknown status"),
        "M7": Row("captured in part"),
        "M9": Row("more than the bill"),
        "M10": Row("a tip that changes"),
        "M11": Row("service charge inside and outside"),
        "M12": Row("one of two payers gives up"),
        "M13": Row("amounts that cannot be"),
        "M14": Row("items that do not add up"),
        "M15": Row("paid twice in full"),
    },
    "Refunds, reversals, expiry, cancellation": {
        "R1": Row("refunded in full"),
        "R2": Row("reversed afterwards"),
        "R3": Row("reversed before capture"),
        "R4": Row("the hold runs out without an event"),
        "R6": Row("the customer gives up"),
        "R7": Row("cancelled while money is held"),
        "R8": Row("cancelled after capture"),
        "R10": Row("an event in a final state"),
        "R11": Row("one refund, two events"),
    },
    "Locks": {
        "X1": Row("the same lock again"),
        "X2": Row("another while it is held"),
        "X3": Row("another after it expired"),
        "X4": Row("extended after it expired"),
        "X6": Row("released twice, or unknown"),
        "X7": Row("expiries that cannot be, or are odd"),
        "X8": Row("paid under an expired lock"),
        "X10": Row("the till amends under a lock"),
        "X12": Row("the clock jumps over an expiry"),
    },
    "Time": {
        "T1": Row("three days back"),
        "T2": Row("two hours on"),
        "T3": Row("time zones and summer time"),
        "T4": Row("leap seconds, 24:00, 2038, 29 February"),
        "T6": Row("skew between two nodes", POSTGRESQL),
        "T7": Row("Dojo's clock is wrong"),
    },
    "Storage": {
        "S1": Row("disk full"),
        "S2": Row("read-only"),
        "S3": Row("a writer from outside"),
        "S4": Row("fsync fails"),
        "S5": Row("bits flipped in a header or page"),
        "S6": Row("bits flipped in a row"),
        "S7": Row("rows changed by hand"),
        "S10": Row("state changed by hand"),
        "S11": Row("the WAL damaged or gone"),
        "S12": Row("the shared memory file gone"),
        "S14": Row("the path holds something else"),
        "S15": Row("a long reader"),
        "S16": Row("the directory's permission is lost"),
        "S17": Row("files are their owner's alone"),
    },
    "Processes, upgrade, several nodes": {
        "P1": Row("a second server"),
        "P2": Row("commands beside the server"),
        "P3": Row("a server that forks"),
        "P4": Row("upgraded with open orders"),
        "P5": Row("the declaration changed"),
        "P6": Row("downgraded"),
        "P8": Row("killed inside a transaction", POSTGRESQL),
        "P9": Row("connection lost in the commit", POSTGRESQL),
        "P10": Row("serialisation failures", POSTGRESQL),
        "P11": Row("a paused node holds a lease", POSTGRESQL),
        "P12": Row("the database restarts under load", POSTGRESQL),
        "P13": Row("two nodes append", POSTGRESQL),
        "P14": Row("NUL in a text", "PostgreSQL's half: " + POSTGRESQL, whole=False),
        "P15": Row("a replica that lags", POSTGRESQL),
    },
    "WebSocket": {
        "W1": Row("drops before the reply", WEBSOCKET),
        "W3": Row("calls that mean nothing", WEBSOCKET),
        "W4": Row("frames too large or broken", WEBSOCKET),
        "W5": Row("closed by Dojo", WEBSOCKET),
        "W6": Row("half open", WEBSOCKET),
        "W7": Row("the same event twice", WEBSOCKET),
        "W9": Row("without TLS", WEBSOCKET),
    },
    "Hostile input": {
        "I-1": Row("nesting"),
        "I-2": Row("size, endless bodies, compression"),
        "I-3": Row("numbers"),
        "I-4": Row("keys twice"),
        "I-6": Row("other types, extra fields, null"),
        "I-7": Row("long lists, long texts, empty lists"),
        "I-8": Row("content types and encodings"),
        "I-9": Row("ids in paths"),
        "I-11": Row("SQL in every field"),
        "I-13": Row("framing"),
        "I-14": Row("cursors and limits"),
    },
    "Access, signature, console, limits": {
        "A1": Row("no or other credentials"),
        "A2": Row("signatures of every shape"),
        "A3": Row("timing of the comparison"),
        "A5": Row("another role's act, an expired session"),
        "A6": Row("forms of other sites"),
        "A7": Row("markup in every text"),
        "A9": Row("paths in downloads"),
        "A10": Row("guessing credentials"),
        "A11": Row("forged Host and forwarding headers"),
        "A12": Row("slow connections"),
        "A13": Row("a flood"),
        "A14": Row("what error pages tell"),
        "A15": Row("where secrets and card numbers end up"),
        "A16": Row("forged log lines"),
        "A18": Row("redirects, framing, sniffing"),
    },
}
ROWS = {name: row for group in GROUPS.values() for name, row in group.items()}

_NAME = r"[A-Z]-?\d+"
_NAMES = re.compile(rf"#\s*{_NAME}(\s+{_NAME})*\s*")
_BEGINS_LIKE_NAMES = re.compile(rf"#\s*{_NAME}\b")


class Misspelt(ValueError):
    """A comment that begins like names of rows and is none, or names a row that there is not."""


def proofs(folder: Path = TESTS) -> dict[str, list[str]]:
    """The tests of each row, as `contract/test_x.py::test_y`, in the order of files and lines. Raises Misspelt."""
    found: dict[str, list[str]] = {name: [] for name in ROWS}
    for path in sorted(folder.glob("**/test_*.py")):
        for test, names in named(path.read_text("utf-8")):
            where = f"{path.relative_to(folder).as_posix()}::{test}"
            for name in names:
                if name not in found:
                    raise Misspelt(f"{where}: there is no row {name}")
                if where not in found[name]:
                    found[name].append(where)
    return found


def named(source: str) -> Iterator[tuple[str, list[str]]]:
    """The tests of a file with the rows that each names."""
    lines = source.splitlines(keepends=True)
    for test, first, last in _tests(ast.parse(source)):
        for comment in _comments("".join(lines[first - 1 : last])):
            if _NAMES.fullmatch(comment):
                yield test, re.findall(_NAME, comment)
            elif _BEGINS_LIKE_NAMES.match(comment):
                raise Misspelt(f"{test}: names of rows stand alone in their comment, separated by spaces: {comment}")


def _comments(head: str) -> list[str]:
    """The comments of a few lines: telling them from text that looks so is slow for whole files."""
    if "#" not in head:
        return []
    return [token.string for token in tokenize.generate_tokens(io.StringIO(head).readline) if token.type == tokenize.COMMENT]


def _tests(module: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Name of each test, and the lines that its comment may stand on, first and last."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, node.lineno, max(node.lineno, node.body[0].lineno - 1)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.startswith("Test"):
            yield node.targets[0].id, node.lineno, node.lineno


def table(found: dict[str, list[str]]) -> str:
    """The whole of tests/FAULTS_COVERED.md."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: dict[str, list[str]]) -> Iterator[str]:
    yield "# Which test proves which fault's answer"
    yield ""
    yield "Written by `make faults` or `python -m tests.faults_covered --write` from comments in the tests; a test fails if stale."
    for group, rows in GROUPS.items():
        yield from ("", f"## {group}", "", "| row | what | proved by, under `tests/` |", "|---|---|---|")
        for name, row in rows.items():
            cells = [f"`{test}`" for test in found[name]]
            if row.without:
                cells.append(f"*left out: {row.without}*")
            for place, cell in enumerate(cells or ["**nothing yet**"]):
                yield f"| {name} | {row.words} | {cell} |" if place == 0 else f"| | | {cell} |"


def unproved(found: dict[str, list[str]]) -> set[str]:
    """The rows that need a test and have none."""
    return {name for name, row in ROWS.items() if not found[name] and not (row.without and row.whole)}


def main() -> int:
    """Write the file, or say which rows have no test."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults_covered", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write tests/FAULTS_COVERED.md anew")
    arguments = parser.parse_args()
    found = proofs()
    if arguments.write:
        FILE.write_text(table(found), "utf-8")
    missing = sorted(unproved(found), key=[*ROWS].index)
    print(f"{len(ROWS) - len(missing)} of {len(ROWS)} rows have a test or a reason; without: {' '.join(missing) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
