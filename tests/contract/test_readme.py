"""README.md, docs/go-live.md and docs/simulator.md say what is: their commands run, their tables are drawn anew and compared.

So is the diagram; links lead somewhere on every page.

`python -m tests.contract.test_readme` writes the parts anew that are made of the program. What is written by hand is compared only.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

import app
from adapters.capabilities import CAPABILITIES, SERVED
from adapters.cli.commands import cli
from adapters.cli.output import Exit
from adapters.cli.sandbox import DEFAULT_KEY, DEFAULT_PORT, FLOWS
from adapters.epos.document import dojo_document
from adapters.epos.operations import OPERATIONS
from adapters.sandbox import Sandbox, control_routes, fault_defaults, fault_kinds
from adapters.settings import PREFIX, describe, read_settings
from adapters.venue import venue_document
from adapters.venue_server import ThreadedServer
from tests.builders import Venue, an_intent
from tests.contract.running import free_port
from tests.contract.sandbox_peer import KEY as PEERS_KEY
from tests.contract.sandbox_peer import USER
from tests.contract.table_peer import TablePeer
from tests.contract.test_reference import operations, who
from workflow.declaration import words
from workflow.diagrams import mermaid
from workflow.lifecycle import ORDER
from workflow.money import Money

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
TRIED = (README, ROOT / "docs" / "go-live.md", ROOT / "docs" / "simulator.md")
"""The pages of which every command is run."""
TEXT = "\n".join(page.read_text("utf-8") for page in TRIED)
REFRESH = "python -m tests.contract.test_readme"
PATIENCE = 180.0
POLL_SECONDS = 0.02
ORDER_ID = "tp_019ab2c4d5e6f708"
KEY = "sk_sandbox_readme"
TOKENS = {"till": "t-1", "auditor": "a-1", "operator": "o-1"}


# -- what is made of the program


def order_diagram(folder):
    return f"```mermaid\n{mermaid(ORDER)}```\n"


def states(folder):
    rows = [f"| `{state}`{' (final)' * (state in words(ORDER.final))} | {meaning} |" for state, meaning in ORDER.states.items()]
    return "\n".join(["| state | meaning |", "|---|---|", *rows]) + "\n"


def order_shown(folder):
    return f"```text\n{run(['tillproof', 'orders', 'show', ORDER_ID], folder).stdout}```\n"


def control_routes_shown(folder):
    rows = [f"| `{' '.join(call.split())}` | {does} |" for call, does in control_routes().items()]
    return "\n".join(["| call | does |", "|---|---|", *rows]) + "\n"


def fault_kinds_shown(folder):
    rows = [f"| {about} | `{kind}` | {means} |" for about, kinds in fault_kinds().items() for kind, means in kinds.items()]
    return "\n".join(["| about | kind | means |", "|---|---|---|", *rows]) + "\n"


PARTS = {
    "order diagram": order_diagram,
    "states": states,
    "order shown": order_shown,
    "control routes": control_routes_shown,
    "kinds of faults": fault_kinds_shown,
}


def part(name):
    """Where a part stands in the page: between its two markers."""
    return re.compile(rf"(?<=<!-- {name} -->\n)(.*?)(?=<!-- end of {name} -->)", re.DOTALL)


def write_anew():
    with tempfile.TemporaryDirectory() as folder:
        make_journal(Path(folder))
        made = {name: make(Path(folder)) for name, make in PARTS.items()}
    for page in TRIED:
        text = page.read_text("utf-8")
        for name, content in made.items():
            text = part(name).sub(content.replace("\\", r"\\"), text)
        page.write_text(text, "utf-8")


# -- what the commands run on


def environment(**given):
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return own | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"} | given


def process_of(command):
    """The console script without an installation: `app.py` is the same program."""
    return [sys.executable, str(ROOT / "app.py"), *command[1:]]


def run(command, folder, **given):
    """Run a command in this process, which saves the start of another."""
    assert command[0] == "tillproof", f"a block that is run holds {command[0]}: mark the block, or say here how to run it"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        others = {name: None for name in os.environ if name.startswith(PREFIX)}
        return CliRunner().invoke(cli, command[1:], obj=app.program(), prog_name="tillproof", env=others | given)


def make_journal(folder):
    """A journal under the default names, with one order of Order and Pay that went all the way."""
    venue = Venue(folder)
    venue.create(ORDER_ID)
    venue.event("pi_1", "Captured", event_id="evt_1")
    venue.settle({"pi_1": an_intent()})
    venue.close()
    (folder / "tillproof.witness").rename(folder / "tillproof.db.witness")
    (folder / "tillproof.key").rename(folder / "tillproof.db.key")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    make_journal(folder)
    return folder


BLOCK = re.compile(r"(?:<!-- (?P<marker>[^\n]*?) -->\n)?```sh\n(?P<lines>.*?)```", re.DOTALL)


def blocks(marker):
    """The commands of the blocks with this marker (None: without any), each as words."""
    found = [match for match in BLOCK.finditer(TEXT) if ((match["marker"] or "").partition(":")[0] or None) == marker]
    return [shlex.split(line, comments=True) for match in found for line in match["lines"].splitlines() if line.strip()]


# -- commands


def test_every_block_of_commands_is_run_or_says_why_not():
    assert [match["marker"] for match in BLOCK.finditer(TEXT) if match["marker"] and ": " not in match["marker"]] == []
    markers = {(match["marker"] or "").partition(":")[0] for match in BLOCK.finditer(TEXT)}
    assert markers == {"", "not run", "run against the simulator", "run against a POS", "run by curl"}
    assert len(BLOCK.findall(TEXT)) == TEXT.count("```sh")


@pytest.mark.parametrize("command", [pytest.param(command, id="-".join(command)) for command in blocks(None)])
def test_a_command_that_only_reads_works_on_a_journal(command, folder):
    if "--journal" in command and not (folder / command[-1]).exists():  # The line before made it, perhaps in another process of the run.
        run(["tillproof", "journal", "seal", command[-1]], folder)
    if command[1:3] == ["journal", "seal"]:
        (folder / command[-1]).unlink(missing_ok=True)  # The other way round.
    ended = run(command, folder)
    assert (ended.exit_code, ended.stderr) == (0, "")


def test_the_demo_prints_what_the_page_shows(tmp_path):
    shown = re.search(r"```text\n(Order and Pay: .*?)```", TEXT, re.DOTALL)[1]
    ended = subprocess.run(
        process_of(["tillproof", "demo"]),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    printed = [without_particulars(line) for line in ended.stdout.splitlines()]
    assert [line for line in shown.splitlines() if line != "[…]" and without_particulars(line) not in printed] == []


def without_particulars(line):
    """Ids, times and counts differ from run to run; sums of money do not."""
    line = re.sub(r"\b(pi_sandbox|tp|ord|evt)_[\w-]*", r"\1_", line)
    line = re.sub(r" +\d+ ms", " # ms", line)
    return re.sub(r"\b\d+ entries|\b[\d.]+ s in all|came \d+ times|\(copy \d+\)", "#", line)


def test_make_knows_the_commands_of_the_first_screen():
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is absent: install the package make")
    runs = {"demo": "tillproof demo", "test": "-m pytest", "bench": "-m tests.bench", "fuzz": "-m tests.fuzz"}
    for target, command in runs.items():
        planned = subprocess.run([make, "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert command in planned, target
    assert {command[1] for command in blocks("not run") if command[0] == "make"} <= set(runs)


def test_what_pip_installs_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert ["pip", "install", "-e", ".[dev]"] in blocks("not run")
    assert "dev" in project["optional-dependencies"]
    assert list(project["scripts"]) == ["tillproof", "tillproof-verify"]


def test_the_commands_of_the_first_day_work_against_the_simulator(tmp_path):
    commands = blocks("run against the simulator")
    assert commands == [["tillproof", "doctor"], ["tillproof", "caps", "diff"], ["tillproof", "caps", "register"], ["tillproof", "serve"]]
    sandbox = Sandbox(api_key=KEY)
    sandbox.start()
    try:
        given = settings_of_the_page(tmp_path) | {f"{PREFIX}DOJO_URL": sandbox.url, f"{PREFIX}ENV": "test"}
        given |= {f"{PREFIX}LISTEN": "127.0.0.1:0", f"{PREFIX}CONSOLE_LISTEN": "127.0.0.1:0"}
        codes = [run(command, tmp_path, **given).exit_code for command in commands[1:3] + commands[:2]]
        assert codes == [Exit.FOUND, Exit.FINE, Exit.FINE, Exit.FINE]  # diff finds, register mends, doctor and diff are content.
        with serving(commands[3], tmp_path, given) as (process, log):
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == Exit.FINE, log.read_text("utf-8")
    finally:
        sandbox.stop()


@pytest.mark.parametrize("command", [pytest.param(command, id=command[9]) for command in blocks("run against a POS")])
def test_the_simulator_drives_a_pos_as_the_page_says(command, tmp_path):
    peer, port = TablePeer(), free_port()
    peer.dojo_url = f"http://127.0.0.1:{port}"
    peer.open(1000)
    words = {command[3]: peer.url, command[5]: USER[0], command[7]: USER[1]}
    try:
        asked = [*(words.get(word, word) for word in command), "--port", str(port), "--api-key", PEERS_KEY]
        ended = run(asked, tmp_path)
        assert ended.exit_code == Exit.FINE, ended.stdout + ended.stderr
    finally:
        peer.stop()


def test_the_fault_of_the_page_is_that_of_the_help_and_makes_reads_fail():
    (command,) = blocks("run by curl")
    assert shlex.join(command) in {shlex.join(shlex.split(line)) for line in help_of_the_sandbox() if line.startswith("    curl ")}
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is absent: install the package curl")
    sandbox = Sandbox(api_key=DEFAULT_KEY)
    sandbox.start()
    try:
        intent = sandbox.intents.make(Money(1000, "GBP"), reference="one")
        asked = [word.replace(f"http://127.0.0.1:{DEFAULT_PORT}", sandbox.url) for word in command[1:]]
        made = subprocess.run([curl, "-s", *asked], capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        headers = {"Authorization": f"Basic {DEFAULT_KEY}", "version": "2026-02-27"}
        read = f"{sandbox.url}/payment-intents/{intent.id}"
        assert json.loads(made)["times"] == 2, made
        assert [requests.get(read, headers=headers, timeout=PATIENCE).status_code for _ in range(3)] == [500, 500, 200]
    finally:
        sandbox.stop()


def help_of_the_sandbox():
    return CliRunner().invoke(cli, ["sandbox", "--help"], prog_name="tillproof").output.splitlines()


def test_the_flows_of_the_page_are_those_of_the_simulator_and_call_what_is_served():
    rows = table_below("flows")
    assert [flow.strip("`") for flow, *_ in rows] == list(FLOWS)
    served = {name.partition(":")[0] for name in SERVED}
    named = {name for *_, calls in rows for name in re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", calls)}
    assert named <= served


def test_the_page_says_what_a_fault_is_unless_told_otherwise():
    assert f"Unless given: {fault_defaults()}." in " ".join(TEXT.split())


def settings_of_the_page(folder):
    """Writes the page's `tillproof.toml` and the secrets that it names; what the environment must hold beside it: nothing."""
    page = tomllib.loads(re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1])
    (folder / "tillproof.toml").write_text(re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1], "utf-8")
    secrets = {"dojo_api_key_file": KEY, "epos_password_file": "readme-password", "tokens_file": "till:till-1:readme-token"}
    assert {name for name in page if name.endswith("_file")} == set(secrets)
    for name, secret in secrets.items():
        (folder / page[name]).write_text(secret, "utf-8")
    return {}


@contextmanager
def serving(command, folder, given):
    log = folder / "service.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(process_of(command), cwd=folder, env=environment(**given), stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + PATIENCE
        while '"event": "serving"' not in log.read_text("utf-8"):
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, log.read_text("utf-8")
            time.sleep(POLL_SECONDS)
        yield process, log
    finally:
        process.kill()
        process.wait()


def test_the_settings_of_the_page_are_complete_for_serving(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings_of_the_page(tmp_path)
    found = read_settings({}, tmp_path / "tillproof.toml")
    assert found.problems_for_serving() == []
    assert found.witness.parent != found.journal.parent


# -- tables and the diagram


@pytest.mark.parametrize("name", PARTS)
def test_what_is_made_of_the_program_is_fresh(name, folder):
    found = part(name).search(TEXT)
    assert found, f"no page has the markers of: {name}"
    assert found[0] == PARTS[name](folder), f"a page is stale; write it anew with: {REFRESH}"


def table_below(marker):
    """The cells of the rows of the hand-written table below a marker."""
    lines = TEXT.partition(f"<!-- {marker} -->\n")[2].partition("\n\n")[0].splitlines()
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """The two applications exactly as `serve` builds them, on a journal of their own; no tasks, so nothing is called."""
    folder, built = tmp_path_factory.mktemp("sides"), []

    class Recorder(ThreadedServer):
        def __init__(self, address, application, **limits):
            super().__init__(address, application, **limits)
            built.append(application)

    given = {
        "LISTEN": "127.0.0.1:0",
        "CONSOLE_LISTEN": "127.0.0.1:0",
        "JOURNAL": str(folder / "tillproof.db"),
        "DOJO_URL": "http://127.0.0.1:9",
        "DOJO_API_KEY": KEY,
        "EPOS_USERNAME": "dojo",
        "EPOS_PASSWORD": "readme-password",
        "WEBHOOK_SECRETS": "whsec_1",
        "TOKENS": ",".join(f"{role}:{role}-1:{token}" for role, token in TOKENS.items()),
        "ENV": "test",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "ThreadedServer", Recorder)
        running = app.start(app._parts(read_settings({f"{PREFIX}{name}": value for name, value in given.items()}, None)))
    yield {"Dojo's side": running.app.app, "the venue's side": built[0].app}  # What stands in the switches once the journal is open.
    running.stop()


def served(application):
    """For programs: the console's pages are for people."""
    found = [rule for rule in application.url_map.iter_rules() if not rule.endpoint.startswith("console.")]
    rules = [(re.sub(r"<(?:[a-z]+:)?(\w+)>", r"{\1}", rule.rule), rule.methods) for rule in found]
    return {f"{method} {path}" for path, methods in rules for method in methods - {"HEAD", "OPTIONS"}}


DOCUMENTS = {"Dojo's side": dojo_document(), "the venue's side": venue_document()}


@pytest.mark.parametrize("side", DOCUMENTS)
def test_the_calls_that_are_described_are_those_that_are_served(side, sides):
    assert {f"{method.upper()} {path}" for path, method, _ in operations(DOCUMENTS[side])} == served(sides[side])


@pytest.mark.parametrize("side", DOCUMENTS)
def test_a_call_lets_in_whom_the_reference_names_and_nobody_else(side, sides):
    client = sides[side].test_client()
    for path, method, operation in operations(DOCUMENTS[side]):
        call, needed, asked = f"{method.upper()} {path}", who(operation), re.sub(r"{\w+}", "nothing", path)
        assert (client.open(asked, method=method, json={}).status_code == 401) == (needed != "–"), call
        for role, token in TOKENS.items() if side == "the venue's side" and needed != "–" else ():
            status = client.open(asked, method=method, json={}, headers={"Authorization": f"Bearer {token}"}).status_code
            may = role == needed or (role == "operator" and needed == "auditor")
            assert (status not in {401, 403}) == may, f"{call} by {role}"


def test_the_capabilities_are_those_that_are_registered():
    served_calls = {(operation.capability, operation.method) for operation in OPERATIONS} | {("HandleEvent", "POST")}
    registered = {(one.name.partition(":")[0], one.method) for one in CAPABILITIES if one.name in SERVED}
    assert served_calls == registered


# -- what it does not do yet


LACKS = TEXT.partition("\n## What it does not do yet\n")[2].partition("\n## ")[0]


def test_a_command_that_is_said_to_be_missing_is_missing():
    missing = re.findall(r"`tillproof ([a-z -]+)`", LACKS)
    assert missing
    assert [words for words in missing if is_command(words.split())] == []


def is_command(path):
    found = cli
    for word in path:
        found = getattr(found, "commands", {}).get(word)
    return found is not None


def test_the_settings_without_effect_are_those_that_the_page_names():
    sources = [ROOT / "app.py", *ROOT.glob("adapters/**/*.py"), *ROOT.glob("workflow/**/*.py")]
    used = set()
    for source in sources:
        if source.name != "settings.py":
            used |= {node.attr for node in ast.walk(ast.parse(source.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
    idle = {row.name for row in describe() if row.name.lower() not in used}
    assert idle == set(re.findall(r"`([A-Z_]+)`", LACKS))


# -- links


PAGES = (
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "diagrams/README.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    text = (ROOT / page).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if not leads_somewhere(link, ROOT / page)] == []


def leads_somewhere(link, page):
    path, _, heading = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not heading or heading in headings(target))


def headings(page):
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


if __name__ == "__main__":
    write_anew()
