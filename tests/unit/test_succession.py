"""Which key signs what: each new key is signed in by the one before it, and whoever trusts one of them finds the others."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workflow import ledger, succession
from workflow.succession import Succession, fingerprint, parse_public_key, raw_base64, read_succession, rotation_facts, told, verifier_key

ORIGIN = "tillproof/5f1c2d"
FIRST, SECOND, THIRD = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))
KEYS = [key.public_key() for key in (FIRST, SECOND, THIRD)]


def a_body(position=7, old=FIRST, new=SECOND, **changes):
    return json.dumps(rotation_facts(ORIGIN, position, old, new) | changes)


def signed(key, *lines):
    return base64.b64encode(key.sign("".join(f"{line}\n" for line in lines).encode())).decode()


def test_both_keys_sign_a_text_that_names_the_journal_the_position_and_both_keys():
    facts = rotation_facts(ORIGIN, 7, FIRST, SECOND)
    old, new = (base64.b64encode(key.public_bytes_raw()).decode() for key in KEYS[:2])
    lines = ("tillproof key rotation", ORIGIN, 7, old, new)
    assert facts == {
        "old_key": old,
        "new_key": new,
        "old_signature": signed(FIRST, *lines),
        "new_signature": signed(SECOND, *lines),
    }


def test_what_is_told_is_what_was_signed():
    rotation = told(ORIGIN, 7, a_body(reason="stolen"))
    assert (rotation.position, rotation.old, rotation.new) == (7, KEYS[0], KEYS[1])


def test_the_statement_of_a_rotation_is_never_the_text_of_a_checkpoint():
    text = succession.statement(ORIGIN, 7, KEYS[0], KEYS[1]).decode()
    note = f"{text}\n\u2014 {ORIGIN} {base64.b64encode(ledger.key_id(ORIGIN, KEYS[0]) + FIRST.sign(text.encode())).decode()}\n"
    with pytest.raises(ledger.BadCheckpoint):
        ledger.verify_checkpoint(note, KEYS[0])


@pytest.mark.parametrize(
    ("origin", "position", "body", "complaint"),
    [
        ("tillproof/other", 7, a_body(), "old_signature does not verify"),
        (ORIGIN, 8, a_body(), "old_signature does not verify"),
        (ORIGIN, 7, a_body(new_key=raw_base64(KEYS[2])), "old_signature does not verify"),
        (ORIGIN, 7, a_body(old_key=raw_base64(KEYS[2])), "old_signature does not verify"),
        (ORIGIN, 7, a_body(old_signature=rotation_facts(ORIGIN, 7, THIRD, SECOND)["old_signature"]), "the old key did not sign"),
        (ORIGIN, 7, a_body(new_signature=rotation_facts(ORIGIN, 7, FIRST, THIRD)["new_signature"]), "the new key did not sign"),
        (ORIGIN, 7, a_body(new_signature=""), "the new key did not sign"),
        (ORIGIN, 7, a_body(old_signature="%"), "old_signature '%' is not base64"),
        (ORIGIN, 7, a_body(new_key="AAAA"), "new_key has 3 bytes, not 32"),
        (ORIGIN, 7, a_body(new_key=None), "new_key"),
        (ORIGIN, 7, "{}", "old_key"),
        (ORIGIN, 7, "[]", "Expected `object`"),
        (ORIGIN, 7, a_body(new=FIRST), "the same"),
    ],
)
def test_an_entry_that_either_key_did_not_sign_as_it_stands_brings_in_nothing(origin, position, body, complaint):
    with pytest.raises(ValueError, match=complaint):
        told(origin, position, body)
    assert read_succession(origin, [(position, body)], KEYS[0]).keys == (KEYS[0],)


def test_a_key_signs_up_to_the_entry_that_retires_it_and_not_beyond():
    keys = read_succession(ORIGIN, [(7, a_body()), (9, a_body(9, SECOND, THIRD))], KEYS[2])
    assert [KEYS.index(keys.at(size)) for size in (1, 6, 7, 8, 9, 10, 1_000)] == [0, 0, 0, 1, 1, 2, 2]
    assert list(keys.spans()) == [(KEYS[0], 1, 7), (KEYS[1], 8, 9), (KEYS[2], 10, None)]


def test_the_keys_that_follow_are_found_from_any_of_them_and_from_no_other():
    rows = [(7, a_body()), (9, a_body(9, SECOND, THIRD))]
    for known in KEYS:
        assert read_succession(ORIGIN, rows, known).keys == tuple(KEYS)
        assert read_succession(ORIGIN, rows, known).has_known
    assert not read_succession(ORIGIN, rows, Ed25519PrivateKey.generate().public_key()).has_known
    assert Succession([], KEYS[1]).keys == (KEYS[1],)


def test_a_key_that_was_not_in_force_brings_in_no_other():
    assert read_succession(ORIGIN, [(7, a_body()), (9, a_body(9, FIRST, THIRD))], KEYS[0]).keys == (KEYS[0], KEYS[1])


def test_a_key_is_written_as_the_programs_for_signed_notes_read_it():
    """The published test log of another implementation, and the line under which its key is published."""
    line = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    assert verifier_key("example.com/log/testdata", parse_public_key(line)) == line


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_read_as_its_line_or_as_its_bytes_in_base64(key):
    assert parse_public_key(verifier_key(ORIGIN, key)) == key
    assert parse_public_key(f" {raw_base64(key)}\n") == key


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has 0 bytes"),
        ("AAAA", "has 3 bytes"),
        ("not base64", "is not base64"),
        (verifier_key(ORIGIN, KEYS[0]).replace(ORIGIN, "tillproof/other"), "do not belong together"),
        (verifier_key(ORIGIN, KEYS[0]).replace("+A", "+B"), "not an Ed25519 key"),
        (verifier_key(ORIGIN, KEYS[0])[:-4], "has 29 bytes"),
    ],
)
def test_what_is_no_public_key_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_public_key(text)


def test_a_fingerprint_is_the_sha_256_of_the_raw_key():
    known = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")  # The first of RFC 8032's keys.
    key = parse_public_key(base64.b64encode(known).decode())
    assert fingerprint(key) == "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9"
