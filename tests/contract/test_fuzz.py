"""Requests made from Dojo's published schema, good and bad, against the running service; `make fuzz` sends more."""

from __future__ import annotations

from adapters.capabilities import CAPABILITIES, SERVED
from adapters.epos.document import dojo_document
from tests.fuzz import fuzz, fuzzed, published

CASES = 600
SEED = 1


def test_no_request_of_the_published_schema_gets_an_unpublished_answer_or_harms_the_journal(tmp_path, specs):
    with fuzzed(tmp_path) as service:
        report = fuzz(service, specs, cases=CASES, seed=SEED)
    told = "\n".join(report.lines())
    assert not report.failures, told
    assert not report.errors, told
    assert report.total >= CASES
    assert {"examples", "coverage", "fuzzing", "stateful"} <= set(report.phases)
    reached = {operation for operation, status in report.cases if status == 200}
    wanted = {f"{one.method} {one.path}" for one in CAPABILITIES if one.name in SERVED and one.path in published(specs)["paths"]}
    assert wanted <= reached, told
    assert unsaid(report) == set()


def unsaid(report):
    """Answers whose status our own document does not have."""
    paths = dojo_document()["paths"]
    found = set()
    for operation, status in report.cases:
        method, path = operation.split()
        said = paths[path].get(method.lower())
        if said and str(status) not in said["responses"]:
            found.add((operation, status))
    return found
