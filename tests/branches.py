"""How much of the core's branches the tests took: `python -m tests.branches`, after `pytest --cov=workflow`.

Statements do not count: a statement is run by any test that comes near it, an untaken branch is a case that nobody thought of.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from coverage import Coverage

LEAST_PERCENT = 95.0
WORST = 8
"""So many files are named."""


def measured(data_file: str | None = None) -> dict:
    """Coverage's own report of what was measured last."""
    coverage = Coverage(data_file=data_file) if data_file else Coverage()
    coverage.load()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(path))
        return json.loads(path.read_text())


def judged(report: dict) -> tuple[bool, str]:
    """Whether enough branches were taken, and what is to be said about it: where too few were, the worst files first."""
    taken, branches = report["totals"]["covered_branches"], report["totals"]["num_branches"]
    if not branches:
        return False, "no branch was measured: run pytest --cov=workflow first"
    enough = 100 * taken >= LEAST_PERCENT * branches
    lines = [f"branches taken: {taken} of {branches}, {100 * taken / branches:.1f} %, of at least {LEAST_PERCENT:.1f} %"]
    if not enough:
        missing = {name: file["missing_branches"] for name, file in report["files"].items() if file["missing_branches"]}
        for name, jumps in sorted(missing.items(), key=lambda item: -len(item[1]))[:WORST]:
            lines.append(f"  {len(jumps):>4} not in {name}: {', '.join(f'{start}->{end}' for start, end in jumps)}")
    return enough, "\n".join(lines)


def main() -> int:
    enough, said = judged(measured())
    print(said, file=sys.stdout if enough else sys.stderr)
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
