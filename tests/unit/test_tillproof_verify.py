"""The stand-alone verifier: whatever is changed in what it checks it finds, and whatever it is given it ends with a sentence."""

from __future__ import annotations

import ast
import base64
import copy
import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections import namedtuple
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, settings
from hypothesis import given as draw
from hypothesis import strategies as st

import adapters.tillproof_verify as program
from tests.builders import Venue, walks
from workflow import export
from workflow.commands import RotateKey
from workflow.journal.keys import load_or_make_key
from workflow.ledger import sign_checkpoint
from workflow.proof import Prover
from workflow.succession import verifier_key

SOURCE = Path(program.__file__)
ORDER = "o2"
DOCUMENTS = ("proof.json", "consistency.json", "receipt.json")

Ended = namedtuple("Ended", "code out err")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A journal of a few orders, and every kind of file that can be made of it."""
    folder = tmp_path_factory.mktemp("verify")
    venue = Venue(folder)
    for number in range(3):
        venue.create(f"o{number}", payments=() if number != 2 else None)
    venue.journal.seal()
    venue.event("pi_1", "Captured")
    venue.create("o3", payments=())
    venue.event("pi_unknown", "Captured", event_id="evt_parked")
    venue.journal.seal()
    prover = Prover(venue.reads, venue.journal)
    first, last = (venue.reads.oldest_checkpoint_size(), venue.reads.newest_checkpoint_size())
    made = {
        "proof.json": prover.prove(ORDER),
        "old-proof.json": prover.prove(ORDER, first),
        "consistency.json": prover.consistency(),
        "receipt.json": prover.receipt(ORDER, 3),
        "late-receipt.json": prover.receipt(ORDER, 6),
    }
    for name, document in made.items():
        (folder / name).write_bytes(msgspec.json.encode(document))
    for form in export.FORMATS:
        (folder / f"export.{form}").write_text("".join(export.lines(venue.reads, form)), "utf-8", newline="")
    for name, size in (("old.note", first), ("new.note", last)):
        (folder / name).write_text(venue.reads.checkpoint(size)[1], "utf-8")
    venue.close()
    return folder


@pytest.fixture
def ask(folder, capsys, monkeypatch):
    """Run the verifier in the folder; it ends with a code and with words, never with an exception."""
    monkeypatch.chdir(folder)

    def run(*words):
        code = program.main([str(word) for word in words])
        said = capsys.readouterr()
        assert code in (0, 1, 2)
        assert (code == 2) == said.err.startswith("Error: ")
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture
def key(folder):
    return load_or_make_key(folder / "tillproof.key").public_key()


def read(folder, name):
    return json.loads((folder / name).read_bytes())


def put(folder, document, name="changed.json"):
    (folder / name).write_text(json.dumps(document), "utf-8")
    return name


# What holds


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_of_ours_holds_and_says_whose_key_it_was_held_against(ask, name, key):
    alone, pinned = ask(name), ask(name, "--key", base64.b64encode(key.public_bytes_raw()).decode())

    assert (alone.code, pinned.code) == (0, 0)
    assert "Who signed: the key is the one in the file itself" in alone.out
    assert "Who signed" not in pinned.out
    assert alone.out.startswith("It holds, if the key is the venue's: ")
    assert pinned.out.startswith("It holds.\n")
    assert "signed by whoever has the key that you gave" in " ".join(pinned.out.split())


@pytest.mark.parametrize("form", export.FORMATS)
def test_a_whole_export_holds_against_checkpoint_witness_and_proofs(ask, form):
    ended = ask(f"export.{form}", "proof.json", "--checkpoint", "new.note", "--checkpoint", "old.note", "--witness", "tillproof.witness")

    said = " ".join(ended.out.split())
    assert ended.code == 0
    assert f"export.{form} is the whole log that was signed, byte for byte" in said
    assert "but those shown: nothing was left out" in said
    assert "no other entry" not in said


def test_what_it_cannot_prove_is_said_of_each(ask):
    said = " ".join(ask("proof.json").out.split())

    assert "That the order has no other entry" in said
    assert "That nobody was shown another log by the same key" in said
    assert "That what was recorded did happen" in said


def test_a_person_sees_each_entry_with_its_facts_and_the_file_that_it_is_from(ask):
    said = ask("old-proof.json", "proof.json").out

    assert said.index("  old-proof.json: order 'o2'") < said.index("  proof.json: order 'o2'")
    assert '"status":"Captured"' in said.partition("  event pi_1")[2].split("\n")[1]


def test_a_program_gets_the_same_in_json(ask, folder, key):
    found = json.loads(ask("proof.json", "--json").out)
    assert (found["ok"], found["problems"], found["key_pinned"]) == (True, [], False)
    assert found["heads"][0]["key"] == "sha256:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()

    changed = read(folder, "proof.json")
    changed["entries"][0]["columns"]["actor"] = "somebody"
    found = json.loads(ask(put(folder, changed), "--json").out)
    assert (found["ok"], found["proves"]) == (False, [])
    assert "it was changed" in found["problems"][0]


def test_two_proofs_of_one_checkpoint_have_the_same_bytes(folder, tmp_path):
    shutil.copy(folder / "tillproof.db", tmp_path)
    shutil.copy(folder / "tillproof.key", tmp_path)
    venue = Venue(tmp_path)
    again = msgspec.json.encode(Prover(venue.reads, venue.journal).prove(ORDER))
    venue.close()

    assert again == (folder / "proof.json").read_bytes()


# What was changed


def leaves(document, path=()):
    """Where the values of a document are, its objects and lists included."""
    yield path
    parts = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for name, part in parts:
        yield from leaves(part, (*path, name))


def at(document, path):
    for name in path:
        document = document[name]
    return document


def changes(value):
    """What somebody may put in the place of a value; each is another one."""
    yield from (None, True, [], {}, "", 0, -1, 2**63, 10**30, "x", [value], {"x": value})
    if isinstance(value, str):
        yield from (value + " ", value + "0", value[:-1], value[1:], value.upper(), value.swapcase(), value[::-1])
        yield from ("\x00", "\ud800", "=" + value)
        for place in {0, len(value) // 2, len(value) - 1}:
            for other in ("0", "f", "A", "\u00e9"):
                yield value[:place] + other + value[place + 1 :]
    elif isinstance(value, int):
        yield from (value + 1, value - 1, float(value), str(value), value + 2**64)
    elif isinstance(value, list):
        yield from (value[1:], value[:-1], value[::-1], value + value[-1:], [*value, "0" * 64], value[:1] + value)
    elif isinstance(value, dict):
        yield from ({name: part for name, part in value.items() if name != left_out} for left_out in value)
        yield value | {"more": 1}


def is_another_list(value, other):
    """Entries that are left out at the end of a proof make another proof, of less: see below."""
    return isinstance(other, list) and value[: len(other)] == other and other


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_change_of_every_field_is_found(ask, folder, name):  # I7
    document, tried = read(folder, name), 0
    entries = len(document.get("entries", ()))
    for path in list(leaves(document))[1:]:
        if path[:1] == ("entries",) and len(path) > 1 and path[1] not in (0, entries // 2, entries - 1):
            continue  # They are checked as these are.
        value = at(document, path)
        for other in changes(value):
            if other == value and type(other) is type(value):
                continue
            if path == ("entries",) and is_another_list(value, other):
                continue
            changed = copy.deepcopy(document)
            at(changed, path[:-1])[path[-1]] = other
            assert ask(put(folder, changed)).code in (1, 2), (path, value, other)
            tried += 1
    assert tried > 400


def signed_anew(document, size, root, key):
    """The document with its head signed by another key."""
    note = sign_checkpoint(document["origin"], size, root, key)
    raw = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return document | {"checkpoint": note, "public_key": raw, "size": size, "root": root.hex()}


def test_a_log_of_somebody_elses_making_holds_only_against_its_own_key(ask, folder, key):
    document = read(folder, "proof.json")
    forged = put(folder, signed_anew(document, document["size"], bytes.fromhex(document["root"]), Ed25519PrivateKey.generate()))

    assert ask(forged).code == 0
    ended = ask(forged, "--key", base64.b64encode(key.public_bytes_raw()).decode())
    assert ended.code == 1
    assert "not the key that you gave" in " ".join(ended.out.split())


def test_an_entry_left_out_in_the_middle_is_missed_and_one_at_the_end_by_export_and_receipt(ask, folder):
    document = read(folder, "proof.json")
    gap = put(folder, document | {"entries": document["entries"][:2] + document["entries"][3:]}, "gap.json")
    short = put(folder, document | {"entries": document["entries"][:3]}, "short.json")

    ended = ask(gap)
    assert ended.code == 1
    assert "entry 3 is missing here" in ended.out
    assert "its end may be left out" in " ".join(ask(short).out.split())
    assert ask(short, "export.jsonl").code == 1
    columns = document["entries"][4]["columns"]
    receipt = json.dumps({name: columns[name] for name in ("order_id", "order_seq", "hash")})
    assert ask("proof.json", "--receipt", receipt).code == 0
    ended = ask(short, "--receipt", receipt)
    assert ended.code == 1
    assert "for which there is a receipt" in " ".join(ended.out.split())


def test_a_receipt_is_found_in_a_proof_and_in_an_export_or_missed(ask, folder):
    receipt = read(folder, "receipt.json")
    other = json.dumps({"order_id": ORDER, "order_seq": 3, "hash": "0" * 64})
    strange = json.dumps({"order_id": "o1", "order_seq": 1, "hash": receipt["hash"]})

    for given in (("proof.json", "receipt.json"), ("proof.json", "--receipt", "receipt.json"), ("export.csv", "receipt.json")):
        ended = ask(*given)
        assert ended.code == 0
        assert "there is a receipt" in " ".join(ended.out.split())
    assert ask("proof.json", "--receipt", other).code == 1
    assert ask("proof.json", "--receipt", strange).code == 1
    assert ask("consistency.json", "--receipt", other).code == 1
    put(folder, {"data": [receipt, receipt | {"order_seq": 4}]}, "receipts.json")
    assert ask("proof.json", "--receipt", "receipts.json").code == 1


def test_a_file_that_is_older_than_a_receipt_need_not_have_its_entry(ask, folder):
    entry = read(folder, "proof.json")["entries"][-1]["columns"]
    assert entry["order_seq"] > len(read(folder, "old-proof.json")["entries"])
    receipt = json.dumps({name: entry[name] for name in ("order_id", "order_seq", "hash")})

    for given in (["proof.json", "--receipt", receipt], ["export.jsonl", "proof.json", "--receipt", receipt], ["late-receipt.json"]):
        ended = ask("old-proof.json", *given)
        assert ended.code == 0, ended
        assert "that file is older than the receipt" in " ".join(ended.out.split())
    cut = read(folder, "old-proof.json")
    assert ask(put(folder, cut | {"entries": cut["entries"][:2]}), "receipt.json").code == 1  # It says where its entry stands.
    assert "unless it was made before the receipt" in " ".join(ask("old-proof.json", "--receipt", receipt).out.split())


def test_what_one_proof_shows_another_of_the_same_log_must_not_leave_out(ask, folder):
    document = read(folder, "proof.json")
    short = put(folder, document | {"entries": document["entries"][:3]}, "short.json")

    for given in ([short, "proof.json"], ["proof.json", short], [short, "old-proof.json"]):
        ended = ask(*given)
        assert (ended.code, "is left out or another one" in ended.out) == (1, True)
    assert ask("old-proof.json", "proof.json").code == 0


# Checkpoints and witnesses kept elsewhere


def test_files_of_two_sizes_that_nothing_connects_are_named_with_the_command_that_does(ask):
    apart = "nothing here connects them, give the file of tillproof journal consistency 9 15 as well"

    assert apart in " ".join(ask("old-proof.json", "proof.json").out.split())
    for given in ("consistency.json", "export.jsonl"):
        assert "nothing here connects them" not in " ".join(ask("old-proof.json", "proof.json", given).out.split())


def test_a_checkpoint_kept_elsewhere_must_be_connected_with_what_is_given(ask, folder):
    ended = ask("proof.json", "--checkpoint", "old.note")

    assert ended.code == 1
    assert "tillproof journal consistency 9 15" in " ".join(ended.out.split())
    assert ask("proof.json", "consistency.json", "--checkpoint", "old.note").code == 0
    assert ask("proof.json", "--checkpoint", "new.note").code == 0
    assert ask("old-proof.json", "--checkpoint", "old.note").code == 0


def test_two_signed_heads_of_one_size_show_that_two_logs_were_kept(ask, folder):
    document, private = read(folder, "proof.json"), load_or_make_key(folder / "tillproof.key")
    (folder / "forked.note").write_text(sign_checkpoint(document["origin"], document["size"], b"\x07" * 32, private), "utf-8")
    (folder / "strange.note").write_text(sign_checkpoint("tillproof/other", document["size"], b"\x07" * 32, private), "utf-8")

    assert "two logs were kept" in " ".join(ask("proof.json", "--checkpoint", "forked.note").out.split())
    assert "is about the log" in ask("proof.json", "--checkpoint", "strange.note").out


def test_a_witness_kept_elsewhere_must_have_seen_the_same_log(ask, folder):
    document = read(folder, "proof.json")
    (folder / "strange.witness").write_text(f"1 {'0' * 64}\n{document['size']} {'1' * 64}\n")
    (folder / "young.witness").write_text(f"{document['size'] + 5} {'1' * 64}\n")
    (folder / "no.witness").write_text("what is this\n")
    kept = (folder / "tillproof.witness").read_text()
    (folder / "holed.witness").write_text("\0" * 40 + "\n" + kept)
    (folder / "shrunk.witness").write_text(kept + kept.splitlines()[0] + "\n")
    (folder / "twice.witness").write_text(kept + f"{document['size']} {'1' * 64}\n")

    assert "saw another tree" in " ".join(ask("proof.json", "--witness", "strange.witness").out.split())
    assert "has no line of that size" in " ".join(ask("proof.json", "--witness", "young.witness").out.split())
    assert ask("proof.json", "--witness", "tillproof.witness").code == 0
    assert ask("proof.json", "--witness", "no.witness").code == 1
    assert ask("export.jsonl", "--witness", "strange.witness").code == 1
    assert ask("proof.json", "export.csv", "--witness", "holed.witness").code == 0  # A power cut leaves zeros.
    for given in ("shrunk.witness", "twice.witness"):
        assert "a log only grows" in " ".join(ask("export.jsonl", "--witness", given).out.split())


def test_a_witness_that_saw_none_of_the_heads_takes_back_none_of_what_cannot_be_proved(ask, folder, key):
    kept = (folder / "tillproof.witness").read_text().splitlines(keepends=True)
    (folder / "short.witness").write_text("".join(kept[:2]))
    pinned = ["proof.json", "--key", base64.b64encode(key.public_bytes_raw()).decode(), "--witness"]
    limits = ("Who had the key", "That nobody was shown another log by the same key")

    short, whole = (" ".join(ask(*pinned, witness).out.split()) for witness in ("short.witness", "tillproof.witness"))
    assert [limit in short for limit in limits] == [True, True]
    assert [limit in whole for limit in limits] == [False, False]


def test_a_witness_is_read_once_since_it_may_be_piped(ask, folder, monkeypatch):
    with (folder / "tillproof.witness").open() as piped:
        monkeypatch.setattr("sys.stdin", piped)
        ended = ask("export.jsonl", "proof.json", "--witness", "-")
    assert ended.code == 0
    assert "the witness - saw the same tree" in " ".join(ended.out.split())


def test_an_export_that_was_made_before_a_proof_is_not_called_forged(ask, folder):
    size = read(folder, "old-proof.json")["size"]
    lines = (folder / "export.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "older.jsonl").write_bytes(b"".join(lines[:size]))

    ended = ask("older.jsonl", "old-proof.json", "proof.json")
    assert ended.code == 1  # Or its end was cut off: nothing here tells.
    assert "its end is missing, or it was made earlier" in " ".join(ended.out.split())
    ended = ask("older.jsonl", "old-proof.json", "--witness", "tillproof.witness")
    assert (ended.code, "or is merely older" in ended.out) == (0, True)


@pytest.mark.parametrize("form", export.FORMATS)
def test_an_export_that_ends_at_a_line_of_a_witness_that_goes_on_is_not_called_the_whole_log(ask, folder, form):
    lines, kept = (
        (folder / f"export.{form}").read_bytes().splitlines(keepends=True),
        (folder / "tillproof.witness").read_text().splitlines(),
    )
    size = int(kept[-2].split()[0])
    (folder / f"shorter.{form}").write_bytes(b"".join(lines[: size + (form == "csv")]))
    (folder / f"nothing.{form}").write_bytes(lines[0] if form == "csv" else b"")

    ended = ask(f"shorter.{form}", "--witness", "tillproof.witness")
    assert ended.code == 0
    assert f"The first {size} entries of shorter.{form} are those that the witness saw first" in " ".join(ended.out.split())
    assert "cut off at its end, or is merely older" in " ".join(ended.out.split())
    assert "the whole log" not in ended.out
    assert "the whole log" not in ask(f"nothing.{form}", "--witness", "tillproof.witness").out
    assert "is the whole log that the witness saw" in " ".join(ask(f"export.{form}", "--witness", "tillproof.witness").out.split())


def test_of_a_key_that_nothing_given_is_signed_with_nothing_is_said(ask, folder):
    ended = ask("export.jsonl", "--witness", "tillproof.witness", "--key", base64.b64encode(b"\x07" * 32).decode())
    assert ended.code == 0
    assert "the key that you gave" not in " ".join(ended.out.split())
    assert "Who wrote export.jsonl: no signed checkpoint was given with it" in " ".join(ended.out.split())


def test_all_receipts_of_an_order_are_a_file_as_they_are_printed(ask, folder):
    receipts = [read(folder, "receipt.json"), read(folder, "late-receipt.json")]
    put(folder, {"data": receipts}, "receipts.json")
    ended = ask("receipts.json", "export.jsonl")
    said = " ".join(ended.out.split())
    assert ended.code == 0
    assert [f"receipts.json, receipt {number}: its entry's hash is what its columns make" in said for number in (1, 2)] == [True, True]
    assert said.count("for which there is a receipt") == 2

    receipts[1]["entry"]["columns"]["actor"] = "somebody"
    assert "changed.json, receipt 2, entry: what it says does not make its hash" in " ".join(
        ask(put(folder, {"data": receipts})).out.split()
    )
    assert ask(put(folder, {"data": []})).code == 2


def test_a_checkpoint_alone_needs_a_key(ask, folder, key):
    assert ask("new.note").code == 2
    assert ask("new.note", "--key", base64.b64encode(key.public_bytes_raw()).decode()).code == 0
    assert ask("new.note", "--key", base64.b64encode(b"\x07" * 32).decode()).code == 1


# Keys


def test_a_key_is_taken_in_every_form_that_people_keep_it_in(ask, folder, key):
    raw = key.public_bytes_raw()
    (folder / "key.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (folder / "key.txt").write_text(base64.b64encode(raw).decode() + "\n")
    origin = read(folder, "proof.json")["origin"]
    named = verifier_key(origin, key)
    hexed = hashlib.sha256(raw).hexdigest()

    for given in (f"sha256:{hexed}", hexed.upper(), "key.pem", "key.txt", (folder / "key.pem").read_text(), named):
        assert ask("proof.json", "--key", given).code == 0, given
    for number in range(50):  # In base64 some have a plus, too.
        made = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32).public_key()
        assert program._given_key(verifier_key("tillproof/x", made)) == program.Pinned(made.public_bytes_raw(), "tillproof/x")
    for given in ("sha256:" + "0" * 64, base64.b64encode(b"\x07" * 32).decode()):
        assert ask("proof.json", "--key", given).code == 1, given
    for given in ("tillproof.key", "rubbish", "", "AAAA", "proof.json", "-----BEGIN PUBLIC KEY-----", "\x00"):
        assert ask("proof.json", "--key", given).code == 2, given


def test_a_key_that_is_given_with_the_name_of_its_log_holds_for_no_other_log_of_the_same_key(ask, folder, key):
    """Who keeps two sets of books signs both."""
    document, private = read(folder, "proof.json"), load_or_make_key(folder / "tillproof.key")
    root, origin, raw = bytes.fromhex(document["root"]), document["origin"], key.public_bytes_raw()
    other = put(folder, signed_anew(document | {"origin": "tillproof/other"}, document["size"], root, private))

    ended = ask(other, "--key", base64.b64encode(raw).decode())
    assert (ended.code, "this is tillproof/other. Compare the name" in " ".join(ended.out.split())) == (0, True)
    assert ask("proof.json", "--key", verifier_key(origin, key)).code == 0
    ended = ask(other, "--key", verifier_key(origin, key))
    assert (ended.code, "the key that you gave is for" in " ".join(ended.out.split())) == (1, True)
    assert ask("proof.json", "--key", verifier_key("tillproof/other", key)).code == 1
    assert (
        ask("proof.json", "--key", verifier_key(origin, key).replace("tillproof/", "tillproof/x")).code == 2
    )  # The id has the name in it.


# Exports that were changed


@settings(max_examples=walks(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@draw(data=st.data(), form=st.sampled_from(export.FORMATS))
def test_every_byte_of_an_export_that_is_changed_is_found(folder, ask, data, form):  # I7
    whole = (folder / f"export.{form}").read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    (folder / f"changed.{form}").write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])

    assert ask(f"changed.{form}", "--checkpoint", "new.note", "proof.json").code in (1, 2)


@settings(max_examples=walks(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@draw(data=st.data(), form=st.sampled_from(export.FORMATS))
def test_lines_of_an_export_that_are_left_out_swapped_or_repeated_are_found(folder, ask, data, form):
    lines = (folder / f"export.{form}").read_bytes().splitlines(keepends=True)
    one, other = (data.draw(st.integers(int(form == "csv"), len(lines) - 1)) for _ in range(2))
    changed = [*lines]
    if one == other:
        del changed[one]
    elif data.draw(st.booleans()):
        changed[one], changed[other] = changed[other], changed[one]
    else:
        changed.insert(one, lines[other])
    (folder / f"changed.{form}").write_bytes(b"".join(changed))

    assert ask(f"changed.{form}", "--checkpoint", "new.note", "proof.json").code in (1, 2)


def test_an_export_alone_or_from_the_middle_is_held_against_nothing(ask, folder):
    (folder / "part.jsonl").write_bytes(b"".join((folder / "export.jsonl").read_bytes().splitlines(keepends=True)[3:]))

    assert "give --checkpoint FILE or --witness FILE" in ask("export.jsonl").err
    assert "it stands at 4, after 0" in ask("part.jsonl", "proof.json").out


def test_texts_that_the_export_defused_are_taken_back(tmp_path, ask):
    venue = Venue(tmp_path)
    venue.create("=1+1", payments=())
    venue.create("'=1+1", payments=())
    venue.journal.seal()
    proof = Prover(venue.reads, venue.journal).prove("'=1+1")
    (tmp_path / "proof.json").write_bytes(msgspec.json.encode(proof))
    (tmp_path / "export.csv").write_text("".join(export.lines(venue.reads, "csv")), "utf-8", newline="")
    venue.close()

    assert ",'=1+1," in (tmp_path / "export.csv").read_text()
    assert ask(tmp_path / "export.csv", tmp_path / "proof.json").code == 0


# Whatever it is given

STRANGE = {
    "empty": b"",
    "space": b" \n",
    "zeros": bytes(1000),
    "deep": b"[" * 200_000,
    "deep object": b'{"seq":' * 100_000,
    "deep proof": b'{"format":"tillproof-proof/1","entries":' + b"[" * 200_000,
    "deep body": b'{"seq":1,"body":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001 + b"\n",
    "twice": b'{"format":"tillproof-proof/1","format":"tillproof-proof/1"}',
    "huge number": b'{"format":"tillproof-proof/1","size":' + b"9" * 10_000 + b"}",
    "fraction": b'{"format":"tillproof-proof/1","size":1.0}',
    "no number": b'{"format":"tillproof-proof/1","size":NaN}',
    "exponent": b'{"format":"tillproof-proof/1","size":1e400}',
    "half a character": b'{"format":"tillproof-proof/1","origin":"\\ud800"}',
    "no UTF-8": b'{"format":"tillproof-proof/\xff"}',
    "BOM": b'\xef\xbb\xbf{"format":"tillproof-proof/1"}',
    "another version": b'{"format":"tillproof-proof/2"}',
    "format is a list": b'{"format":["tillproof-proof/1"]}',
    "no format": b"{}",
    "list": b"[]",
    "text": b'"tillproof-proof/1"',
    "control characters": b'{"format":"\\u001b[2J\\u0007"}',
    "csv header": b"seq,order_id\r\n",
    "csv unclosed": b'seq,"' + b"x" * 100_000,
    "csv NUL": b"seq,\x00\r\n",
    "a line of an export": b'{"seq":1}\n',
    "half a note": "tillproof/x\n1\n\n\u2014 ".encode(),
    "note of nothing": "tillproof/x\n1\nAAAA\n\n\u2014 x AAAA\n".encode(),
    "note with a huge size": ("tillproof/x\n" + "9" * 5000 + "\nAAAA\n\n\u2014 x AAAA\n").encode(),
    "note of many lines": ("a\n" * 100_000 + "\n\u2014 x AAAA\n").encode(),
}


@pytest.mark.parametrize("name", STRANGE)
def test_whatever_is_no_file_of_ours_ends_with_a_sentence(ask, folder, name):
    (folder / "strange").write_bytes(STRANGE[name])

    for given in (["strange"], ["strange", "proof.json"], ["proof.json", "--checkpoint", "strange"]):
        ended = ask(*given)
        assert ended.code in (1, 2)
        assert "\x1b" not in ended.out + ended.err
        assert len(ended.out + ended.err) < 4_000


@pytest.mark.parametrize("option", ["--receipt", "--witness", "--key"])
@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_file_given_with_an_option_ends_with_a_sentence(ask, folder, name, option):
    (folder / "strange").write_bytes(STRANGE[name])

    assert ask("proof.json", option, "strange").code in (1, 2)


def told(name, data):
    """What a file says: space between the parts of JSON, and quotes that CSV does not need, say nothing."""
    with suppress(ValueError, csv.Error):
        text = data.decode()
        if name.endswith(".csv"):
            return list(csv.reader(io.StringIO(text, newline=""), strict=True))
        if name.endswith(".jsonl"):
            return [*map(json.loads, text.removesuffix("\n").split("\n")), text[-1:]]
        if name.endswith(".json"):
            return json.loads(text)
    return data


@settings(max_examples=walks(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@draw(data=st.data(), name=st.sampled_from([*DOCUMENTS, "export.jsonl", "export.csv", "new.note"]))
def test_files_that_were_cut_torn_or_mixed_end_with_a_sentence(folder, ask, data, name):
    whole = (folder / name).read_bytes()
    start, end = sorted(data.draw(st.integers(0, len(whole))) for _ in range(2))
    (folder / "torn").write_bytes(whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:])

    if told(name, (folder / "torn").read_bytes()) != told(name, whole):
        ended = ask("torn", "proof.json", *(("--checkpoint", "new.note") if name.startswith("export") else ()))
        assert ended.code in (1, 2)


@settings(max_examples=walks(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@draw(
    kind=st.sampled_from(["tillproof-proof/1", "tillproof-consistency/1", "tillproof-receipt/1"]),
    parts=st.dictionaries(
        st.sampled_from(["origin", "order_id", "size", "root", "checkpoint", "public_key", "entries", "key_changes", "old", "new", "path"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda part: (
                st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(["seq", "columns", "path", "size"]), part, max_size=3)
            ),
            max_leaves=5,
        ),
    ),
)
def test_any_json_that_says_it_is_ours_ends_with_a_sentence(folder, ask, kind, parts):
    assert ask(put(folder, {"format": kind} | parts)).code == 1


# By itself


def test_it_imports_the_standard_library_and_cryptography_alone():
    imported = set()
    for node in ast.walk(ast.parse(SOURCE.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.partition(".")[0])
    assert imported - sys.stdlib_module_names == {"cryptography"}


def test_copied_off_alone_it_runs(tmp_path, folder):
    shutil.copy(SOURCE, tmp_path / "verify.py")
    for name in ("proof.json", "consistency.json", "export.jsonl"):
        shutil.copy(folder / name, tmp_path)

    def run(*words, **options):
        given = {
            "cwd": tmp_path,
            "capture_output": True,
            "env": {"PYTHONIOENCODING": "ascii"},
        }
        return subprocess.run([sys.executable, "-I", "verify.py", *words], check=False, **given | options)

    whole = run("proof.json", "consistency.json", "export.jsonl")
    assert (whole.returncode, whole.stderr) == (0, b"")
    assert whole.stdout.startswith(b"It holds, if the key is the venue's")
    piped = run("-", input=(folder / "proof.json").read_bytes())
    assert piped.returncode == 0
    assert run("nowhere.json").returncode == 2
    assert run().returncode == 2
    assert run("--help").stdout.startswith(b"Example: python verify.py proof.json ")
    bare = subprocess.run([sys.executable, "-I", "-S", "verify.py", "proof.json"], cwd=tmp_path, capture_output=True, check=False)
    assert (bare.returncode, bare.stderr.splitlines()[-1]) == (2, b"Next: python -m pip install cryptography")


# Keys that were changed


@pytest.fixture(scope="module")
def rotated(tmp_path_factory):
    """A journal whose key was changed twice, with files from before and after; the keys, oldest first."""
    folder = tmp_path_factory.mktemp("rotated")
    venue = Venue(folder)
    keys = [venue.key, Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()]
    venue.create("o1", payments=())
    for new_key in keys[1:]:
        venue.engine.handle(RotateKey(new_key=new_key, reason="as every year", actor="operator:op-1"))
        venue.create(f"o{len(venue.reads.rows('SELECT 1 FROM checkpoint')) + 1}", payments=())
    venue.journal.seal()
    prover = Prover(venue.reads, venue.journal)
    made = {
        "proof.json": prover.prove("o1"),
        "consistency.json": prover.consistency(),
        "old.json": prover.prove("o1", venue.reads.oldest_checkpoint_size()),
        "receipt.json": prover.receipt("o2", 1),
        "last-of-the-first-key.json": prover.prove("o1", prover.consistency().key_changes[0].seq),
    }
    for name, document in made.items():
        (folder / name).write_bytes(msgspec.json.encode(document))
    (folder / "export.jsonl").write_text("".join(export.lines(venue.reads, "jsonl")), "utf-8", newline="")
    oldest, first_root = venue.reads.rows("SELECT size, root FROM checkpoint ORDER BY size LIMIT 1")[0]
    early = sign_checkpoint(made["proof.json"].origin, oldest, bytes.fromhex(first_root), keys[1])
    (folder / "early.note").write_text(early, "utf-8")
    newest, origin = venue.reads.newest_checkpoint(), made["proof.json"].origin
    (folder / "new.note").write_text(newest[2], "utf-8")
    (folder / "retired.note").write_text(sign_checkpoint(origin, newest[0], bytes.fromhex(newest[1]), keys[0]), "utf-8")
    venue.close()
    return SimpleNamespace(folder=folder, keys=[base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in keys])


def test_whoever_pinned_any_key_of_the_journal_can_follow_it_to_the_others(ask, rotated, monkeypatch):
    monkeypatch.chdir(rotated.folder)
    assert len(read(rotated.folder, "proof.json")["key_changes"]) == 2
    assert read(rotated.folder, "old.json")["public_key"] == rotated.keys[0]

    for pinned in rotated.keys:
        for given in (["proof.json"], ["consistency.json"], ["receipt.json"], ["export.jsonl", "--checkpoint", "new.note"]):
            ended = ask(*given, "--key", pinned)
            assert ended.code == 0, (given, ended)
    stranger = base64.b64encode(b"\x07" * 32).decode()
    for given in (["proof.json"], ["consistency.json"], ["export.jsonl", "--checkpoint", "new.note"]):
        assert ask(*given, "--key", stranger).code == 1


def test_a_key_that_was_retired_signs_nothing_any_more(ask, rotated, monkeypatch):
    monkeypatch.chdir(rotated.folder)

    ended = ask("export.jsonl", "--checkpoint", "retired.note", "--key", rotated.keys[0])
    assert ended.code == 1
    assert "another key signs" in " ".join(ended.out.split())


def test_a_key_signs_nothing_from_before_it_was_brought_in(ask, rotated, monkeypatch):
    monkeypatch.chdir(rotated.folder)

    ended = ask("export.jsonl", "--checkpoint", "new.note", "--checkpoint", "early.note", "--key", rotated.keys[1])
    assert ended.code == 1
    assert "another key signs" in " ".join(ended.out.split())


def test_a_key_vouches_for_the_one_before_it_only_where_its_own_signature_covers_the_change(ask, rotated, monkeypatch):
    """Whoever stole the old key can put the change of keys, which both have signed, into another history, and sign that up to there."""
    monkeypatch.chdir(rotated.folder)

    assert ask("last-of-the-first-key.json", "--key", rotated.keys[0]).code == 0
    assert ask("last-of-the-first-key.json", "proof.json", "consistency.json", "--key", rotated.keys[1]).code == 0
    ended = ask("last-of-the-first-key.json", "--key", rotated.keys[1])
    assert ended.code == 1
    assert "which is not the key that you gave, nor one that it signed in" in " ".join(ended.out.split())


@pytest.mark.parametrize("name", ["proof.json", "consistency.json", "receipt.json"])
def test_every_change_of_a_change_of_keys_is_found(ask, rotated, monkeypatch, name):
    monkeypatch.chdir(rotated.folder)
    document = read(rotated.folder, name)
    for path in [path for path in leaves(document) if path[:1] == ("key_changes",) and len(path) > 1]:
        for other in list(changes(at(document, path)))[::3]:
            if other != at(document, path) or type(other) is not type(at(document, path)):
                changed = copy.deepcopy(document)
                at(changed, path[:-1])[path[-1]] = other
                assert ask(put(rotated.folder, changed)).code in (1, 2), (path, other)
    left_out = put(rotated.folder, document | {"key_changes": document["key_changes"][1:]})
    assert ask(left_out, "--key", rotated.keys[0]).code == 1
    assert ask(left_out, "--key", rotated.keys[2]).code in (0, 1)


def test_a_key_that_signed_in_two_others_shows_that_two_logs_were_kept(ask, tmp_path, monkeypatch):
    """Somebody puts a backup back from before the key was changed, and goes on with it."""
    monkeypatch.chdir(tmp_path)
    Venue(tmp_path / "one").close()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name, count in (("one", 1), ("two", 2)):
        venue = Venue(tmp_path / name)
        for number in range(count):
            venue.create(f"o{number}", payments=())
        venue.engine.handle(RotateKey(new_key=Ed25519PrivateKey.generate(), reason="as every year", actor="operator:op-1"))
        venue.create(f"later-{name}", payments=())
        (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(Prover(venue.reads, venue.journal).prove(f"later-{name}")))
        key = base64.b64encode(venue.key.public_key().public_bytes_raw()).decode()
        venue.close()

    for given in ("one.json", "two.json"):
        assert ask(given, "--key", key).code == 0
    ended = ask("one.json", "two.json", "--key", key)
    assert (ended.code, "signed in two others" in " ".join(ended.out.split())) == (1, True)


def test_nobody_brings_in_a_key_by_naming_ours_as_its_successor(ask, rotated, monkeypatch, tmp_path):
    monkeypatch.chdir(rotated.folder)
    document, stranger = read(rotated.folder, "proof.json"), Ed25519PrivateKey.generate()
    forged = signed_anew(document, document["size"], bytes.fromhex(document["root"]), stranger)

    assert ask(put(rotated.folder, forged), "--key", rotated.keys[2]).code == 1
    assert ask(put(rotated.folder, forged), "--key", rotated.keys[0]).code == 1
