"""docs/audit.md says what is: its commands and programs run on a sealed journal, and its numbers are compared.

`python -m tests.contract.test_audit_page` writes the parts anew that are made of the example.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests import old_journal
from tests.contract.running import ROOT
from tests.contract.test_readme import leads_somewhere
from tests.tampering import COVERS, DATABASE, KEY, WITNESS, Place, audit, command, cover
from workflow.audit import VIEWS
from workflow.entry import KINDS
from workflow.ledger import HASHED_COLUMNS, canonical
from workflow.succession import fingerprint, rotation_facts

PAGE = ROOT / "docs" / "audit.md"
TEXT = PAGE.read_text("utf-8")
FENCE = re.compile(r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL)
BLOCKS = list(FENCE.finditer(TEXT))
MEANINGS = {
    "transition": "an order, a payment or the kitchen moved to another state",
    "payment": "a payment was told of in words: Dojo recorded it",
    "event": "Dojo's event: a hint, which counts nothing",
    "check": "a payment intent as it was read at Dojo: what counts",
    "effect": "the end of a call that we owed, to Dojo or the till",
    "lock": "an order's lock taken or released",
    "attention": "a person was called, or that was over",
    "operator": "a person's deed, with name and reason; the till's too",
    "system": "what concerns no order: bookings, the till's lists, the journal itself",
}


CLEAREST = "ORDER BY from_state = '', body NOT LIKE '%paid%', length(body), seq LIMIT 1"
"""Which entry of a kind says most in few words."""


def block(kind, mark):
    [found] = [match["body"] for match in BLOCKS if (match["kind"], match["mark"]) == (kind, mark)]
    return found


# -- what is made of the example


def kinds(folder):
    rows = ["| kind | means | for example |", "|---|---|---|"]
    with closing(sqlite3.connect(folder / "sealed.db")) as database:
        for kind in KINDS:
            sql = f"SELECT seq, trigger, from_state, to_state, actor, cause, body FROM journal WHERE kind = ? {CLEAREST}"
            seq, trigger, before, after, actor, cause, body = database.execute(sql, (kind,)).fetchone()
            did = " ".join(filter(None, [trigger, f"{before or '*'} → {after}" if after else ""]))
            rows.append(f"| `{kind}` | {MEANINGS[kind]} | {seq}: {' '.join(filter(None, [did, f'[{actor}; {cause}]']))} `{body}` |")
    return "\n".join(rows) + "\n"


EDIT = "UPDATE journal SET body = replace(body, '1200', '1000') WHERE seq = 25"
EDITED = "a sum edited in entry 25"
ATTACKS = (
    # what was done                                           in SQL, and what else is made anew to hide it
    (EDITED, EDIT, "nothing else"),
    (f"{EDITED}, its hash made anew", EDIT, "its hash"),
    (f"{EDITED}, its order's chain made anew", EDIT, "its order's chain"),
    (f"{EDITED}, chains and tree made anew", EDIT, "all chains and the tree"),
    (f"{EDITED}, all made anew and signed by another key", EDIT, "all, signed by another key"),
    (f"{EDITED}, all made anew and signed by the venue's key", EDIT, "all, signed by the key"),
    ("entry 25 deleted", "DELETE FROM journal WHERE seq = 25", ""),
    ("entries 25 and 26 exchanged", "UPDATE journal SET seq = CASE seq WHEN 25 THEN 1026 ELSE 1025 END WHERE seq IN (25, 26)", "moved"),
    ("the last eight entries cut off", "DELETE FROM journal WHERE seq > 230", ""),
    ("the last eight cut off, with their checkpoint", "DELETE FROM journal WHERE seq > 230", "no checkpoint"),
    ("a checkpoint written over", "UPDATE checkpoint SET root = replace(root, 'f23e', 'f23f')", ""),
    ("a stored node of the tree edited", "UPDATE tree_node SET hash = zeroblob(32) WHERE level = 3 AND position = 2", ""),
    ("line 50 of the witness edited", "", "a line of the witness"),
    ("the trigger removed that forbids changes", "DROP TRIGGER journal_is_append_only_update", "no trigger"),
    ("a view added", "CREATE VIEW takings AS SELECT 0 AS total", ""),
    ("the rules of a machine edited", "UPDATE machines SET declaration = replace(declaration, 'taken', 'asked') WHERE name = 'order'", ""),
    ("what an order paid edited", "UPDATE orders SET paid = 1000 WHERE id = 'oap-updated'", ""),
    ("a payment removed", "DELETE FROM payments WHERE order_id = 'oap-updated'", ""),
)


def attacks(folder):
    rows = ["| done | answered |", "|---|---|"]
    for number, (done, statement, hidden) in enumerate(ATTACKS):
        place = folder / f"attack-{number}"
        place.mkdir()
        attack(Place(place, {name: (folder / name).read_bytes() for name in (DATABASE, WITNESS, KEY)}), statement, hidden)
        finding = audit(place)
        assert finding.by in {"verify", "replay"}, done
        rows.append(f"| {done} | `{finding.by}`: {finding.sentence.replace(f'{place}/', '')} |")
    return "\n".join(rows) + "\n"


def attack(place, statement, hidden):
    if hidden == "a line of the witness":
        lines = (place.folder / WITNESS).read_text().splitlines(keepends=True)
        (place.folder / WITNESS).write_text("".join([*lines[:49], lines[49][:-5] + "0000\n", *lines[50:]]))
        return
    if hidden == "no trigger":
        with closing(sqlite3.connect(place.folder / DATABASE)) as database:
            database.execute(statement)
        return
    with place.opened() as database:
        database.execute(statement)
        if hidden in COVERS:
            cover(place, database, 25, hidden)
        elif hidden == "moved":
            database.execute("UPDATE journal SET seq = seq - 1000 WHERE seq > 1000")
        elif hidden == "no checkpoint":
            database.execute("DELETE FROM checkpoint")


def views(folder):
    return "\n".join(["| view | answers |", "|---|---|", *(f"| `{view.name}` | {view.title} |" for view in VIEWS)]) + "\n"


PARTS = {"kinds": kinds, "attacks": attacks, "views": views}


def write_anew():
    text = TEXT
    with tempfile.TemporaryDirectory() as name:
        make_place(Path(name))
        for part, make in PARTS.items():
            made = make(Path(name))
            text = re.sub(rf"(?<=<!-- {part} -->\n).*?(?=<!-- end of {part} -->)", lambda _, made=made: made, text, flags=re.DOTALL)
    PAGE.write_text(text, "utf-8")


# -- what the commands run on


def make_place(folder):
    """The example as the venue has it, sealed, and what an auditor asks for beside the copy."""
    old_journal.load("schema-1", folder / DATABASE)
    shutil.copy(folder / f"{DATABASE}.witness", folder / WITNESS)
    shutil.copy(folder / f"{DATABASE}.key", folder / KEY)
    seal, openssl = block("sh", "the operator's").strip().splitlines()
    ended = ours(folder, seal)
    assert ended.exit_code == 0, ended.output
    (folder / "check.py").write_text(block("python", "check.py"), "utf-8")
    assert sh(folder, openssl).returncode == 0


def ours(folder, line):
    """A line `tillproof journal …` of the page's, on the files in the folder."""
    program, group, *words = shlex.split(line)
    assert (program, group) == ("tillproof", "journal")
    return command(folder, *(str(folder / word) if word in {"sealed.db", "venue.pub"} else word for word in words))


def sh(folder, script):
    """Run it as a shell does, with this Python as `python3`; any command that fails ends it."""
    script = re.sub(r"^python3 ", f"{shlex.quote(sys.executable)} ", script, flags=re.MULTILINE)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=120, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    for tool in ("bash", "sqlite3", "openssl", "sha256sum"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is absent: install the package that has it (on Debian and Ubuntu bash, sqlite3, openssl, coreutils)")
    folder = tmp_path_factory.mktemp("made")
    make_place(folder)
    return folder


@pytest.fixture
def place(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "place"))


def edit(place, *statements):
    with closing(sqlite3.connect(place / "sealed.db", isolation_level=None)) as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            assert database.execute(statement).rowcount != 0


CHECKS = [match["body"] for match in BLOCKS if match["kind"] == "sh" and match["mark"] is None]
WHOLE, SIGNATURE, ENTRY, ORDER, ROTATIONS, ERASINGS = CHECKS


def test_the_check_with_python_alone_calls_a_sealed_journal_whole_and_prints_what_is_shown(place):
    ended = sh(place, WHOLE)
    assert (ended.returncode, ended.stdout) == (0, block("text", "what it prints")), ended.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE journal SET actor = 'nobody' WHERE seq = 5", "entry 5 was changed"),
        ("DELETE FROM journal WHERE seq = 7", "entry 7 is missing"),
        ("UPDATE journal SET body = replace(body, '1200', '1201') WHERE seq = 25", "entry 25 was changed"),
        ("UPDATE checkpoint SET root = replace(root, 'f', 'e')", "the checkpoint at 238 has another root"),
        ("UPDATE checkpoint SET size = 237", "the checkpoint at 237 has another root"),
        ("DELETE FROM journal WHERE seq > 230", "the checkpoint at 238 is about more entries than there are"),
    ],
)
def test_the_check_with_python_alone_names_what_was_changed(place, change, said):  # S7
    edit(place, change)
    ended = sh(place, WHOLE)
    assert (ended.returncode, ended.stderr.strip()) == (1, f"NOT WHOLE: {said}")


def test_the_check_with_python_alone_looks_at_each_line_of_the_witness(place):  # S11
    lines = (place / WITNESS).read_text().splitlines(keepends=True)
    (place / WITNESS).write_text("".join(lines) + "2")
    assert sh(place, WHOLE).returncode == 0
    (place / WITNESS).write_text("".join([*lines[:50], lines[50][:-5] + "0000\n", *lines[51:]]))
    ended = sh(place, WHOLE)
    assert ended.returncode == 1
    assert "the witness saw another root" in ended.stderr
    (place / WITNESS).write_text("".join(lines) + f"999 {'0' * 64}\n")
    assert "The witness has seen 999 entries" in sh(place, WHOLE).stdout


def test_openssl_checks_the_signature_and_refuses_one_of_other_text_or_key(place):
    ended = sh(place, SIGNATURE)
    assert (ended.returncode, ended.stdout.strip()) == (0, "Signature Verified Successfully"), ended.stderr
    verify = SIGNATURE.strip().splitlines()[-1]
    signed = (place / "signed.txt").read_text()
    (place / "signed.txt").write_text(signed.replace("238", "239"))
    assert sh(place, verify).returncode != 0
    sh(place, "openssl genpkey -algorithm ed25519 -out other.key; openssl pkey -in other.key -pubout -out venue.pub")
    assert sh(place, SIGNATURE).returncode != 0


def test_the_public_key_of_the_example_is_the_one_that_is_shown(place):
    assert (place / "venue.pub").read_text() == block("text", "the example's key")


def test_one_entry_is_hashed_by_hand_to_what_is_shown(place):
    by_hand, stored = sh(place, ENTRY).stdout.splitlines()
    assert by_hand.split()[0] == stored
    assert f"Both print `{stored}`." in TEXT


def test_the_questions_in_sql_are_answered(place):
    for line in ORDER.strip().splitlines():
        ended = sh(place, line)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count("\n") > 4, line


def test_changes_of_the_key_are_listed(place):
    assert sh(place, ROTATIONS).stdout == ""
    stranger = Ed25519PrivateKey.generate()
    facts = rotation_facts("tillproof/else", 239, stranger, Ed25519PrivateKey.generate())
    columns = "'', 99, at, 'operator', '', 'rotate_key', '', '', '', 'operator:ann', '', ?, prev_hash, hash FROM journal WHERE seq = 1"
    with closing(sqlite3.connect(place / "sealed.db", isolation_level=None)) as database:
        database.execute(f"INSERT INTO journal SELECT 239, {columns}", (canonical(facts),))
    assert facts["new_key"] in sh(place, ROTATIONS).stdout


def test_erasings_are_listed(place):
    assert sh(place, ERASINGS).stdout == ""
    columns = "'', 99, at, 'operator', '', 'erase_party', '', '', '', 'operator:ann', '', '{}', prev_hash, hash FROM journal WHERE seq = 1"
    with closing(sqlite3.connect(place / "sealed.db", isolation_level=None)) as database:
        database.execute(f"INSERT INTO journal SELECT 239, {columns}")
    assert "operator:ann" in sh(place, ERASINGS).stdout


def test_the_fingerprint_that_the_page_has_written_down_is_the_one_that_is_asked_for(place):
    [line] = re.findall(r"`(openssl pkey -pubin -in venue.pub [^`]*sha256sum)`", TEXT)
    key = load_pem_public_key((place / "venue.pub").read_bytes())

    assert sh(place, line).stdout.split()[0] == fingerprint(key)


def test_the_views_of_the_page_are_those_of_the_copy(place):
    with closing(sqlite3.connect(place / "sealed.db")) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
    assert sorted(names) == sorted(view.name for view in VIEWS)


def test_our_own_commands_find_the_copy_whole_and_print_a_proof(place):
    for line in block("sh", "with the venue's settings").strip().splitlines():
        ended = ours(place, line)
        assert ended.exit_code == 0, ended.output
    assert [entry["columns"]["order_id"] for entry in json.loads(ended.stdout)["entries"]] == ["oap-updated"] * 16


def test_the_stand_alone_verifier_holds_what_the_page_has_it_check_and_refuses_what_was_changed(place):
    for line in block("sh", "the stand-alone verifier's").strip().splitlines():
        if line.startswith("tillproof journal"):
            asked, _, file = line.partition(" > ")
            (place / file).write_text(ours(place, asked).stdout, "utf-8")
        else:
            ended = verify_alone(place, line)
            assert ended.returncode == 0, ended.stdout + ended.stderr
    assert sh(place, SIGNATURE).returncode == 0
    kept = verify_alone(place, "tillproof-verify journal.jsonl --key venue.pub --checkpoint note.txt")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    for file in ("proof.json", "journal.jsonl"):
        (place / file).write_text((place / file).read_text("utf-8").replace("Captured", "Refunded"), "utf-8")
    for line in block("sh", "the stand-alone verifier's").strip().splitlines():
        assert line.startswith("tillproof journal") or verify_alone(place, line).returncode == 1


def verify_alone(folder, line):
    """The program as one file, elsewhere, where nothing of ours can be imported."""
    shutil.copy(ROOT / "adapters" / "tillproof_verify.py", folder / "tillproof_verify.py")
    _, *words = shlex.split(line)
    return subprocess.run(
        [sys.executable, "-I", "tillproof_verify.py", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_worked_example_prints_what_is_shown_and_the_witness_says_the_same(place):
    ended = subprocess.run(
        [sys.executable, "-c", block("python", "worked example")], capture_output=True, text=True, check=True, cwd=place, timeout=60
    )
    assert ended.stdout == block("text", "its output")
    first = (place / WITNESS).read_text().splitlines()[0]
    assert f"is `{first}`." in TEXT
    assert first.split()[1] in ended.stdout


@pytest.mark.parametrize("part", PARTS)
def test_what_is_made_of_the_example_is_what_the_page_shows(place, part):  # S7 S10 S11
    assert f"<!-- {part} -->\n{PARTS[part](place)}<!-- end" in TEXT, "run python -m tests.contract.test_audit_page"


def test_every_column_is_explained():
    table = TEXT.partition("## What each column means")[2].partition("\n## ")[0]
    for column in ("seq", *HASHED_COLUMNS, "hash"):
        assert re.search(rf"^\|[^|]*`{column}`[^|]*\|", table, re.MULTILINE), column


def test_every_block_of_the_page_is_tried_and_every_link_leads_somewhere():
    assert TEXT.count("```") == 2 * len(BLOCKS)
    tried = {
        "the operator's",
        "the example's key",
        "check.py",
        None,
        "what it prints",
        "with the venue's settings",
        "the stand-alone verifier's",
        "worked example",
        "its output",
    }
    assert {match["mark"] for match in BLOCKS if not (match["mark"] or "").startswith("not run: ")} == tried
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", TEXT) if "://" not in link]
    assert [link for link in links if not leads_somewhere(link, PAGE)] == []


if __name__ == "__main__":
    write_anew()
