"""The signature of Dojo's webhooks, beside the vector that Dojo published."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from adapters.epos.signature import is_signed, sign

SECRET = "PDYkJQq6sESYHp_zJuTTBQ"
HEADER = "sha256=4B-49-F8-FE-25-A7-E6-7D-00-4F-A7-9C-F8-0B-63-00-C7-77-B4-F2-2D-E5-E1-22-84-FA-04-18-50-A1-76-FD"
BODY = (
    b'{"id":"evt_hnnHxIKR_Uy6bhZCusCltw","event":"payment_intent.created","accountId":"acc_test",'
    b'"createdAt":"2022-02-01T13:07:41.8667859Z","data":{"paymentIntentId":"pi_vpwd4ooAPEqyNAQe4z89WQ",'
    b'"paymentStatus":"Created","captureMode":"Auto"}}'
)
"""Contract §5.3."""
PAIRS = HEADER.removeprefix("sha256=")
HEX = PAIRS.replace("-", "")
OTHER = "another-secret"

ZOO = {
    "missing": None,
    "empty": "",
    "no-value": "sha256=",
    "no-name": PAIRS,
    "sha1": f"sha1={PAIRS}",
    "sha1-digest": "sha1=" + hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest(),
    "sha512-digest": "sha512=" + hmac.new(SECRET.encode(), BODY, hashlib.sha512).hexdigest(),
    "upper-case-name": f"SHA256={PAIRS}",
    "no-equals": f"sha256{PAIRS}",
    "two-equals": f"sha256=={PAIRS}",
    "equals-behind": f"{HEADER}=",
    "first-byte": HEADER.replace("4B", "5B", 1),
    "last-byte": HEADER[:-2] + "FC",
    "truncated-by-a-byte": HEADER[:-3],
    "truncated-by-a-digit": HEADER[:-1],
    "one-byte-more": f"{HEADER}-00",
    "first-byte-alone": "sha256=4B",
    "trailing-space": f"{HEADER} ",
    "trailing-newline": f"{HEADER}\n",
    "leading-space": f" {HEADER}",
    "space-behind-equals": f"sha256= {PAIRS}",
    "two-headers": f"{HEADER},{HEADER}",
    "two-headers-with-a-space": f"{HEADER}, {HEADER}",
    "hyphens-elsewhere": f"sha256={HEX[:1]}-{HEX[1:]}",
    "hyphen-in-front": f"sha256=-{PAIRS}",
    "hyphen-behind": f"{HEADER}-",
    "half-the-hyphens": f"sha256={PAIRS[:47]}-{HEX[32:]}",
    "colons": f"sha256={PAIRS.replace('-', ':')}",
    "not-hex": HEADER.replace("4B", "4G", 1),
    "wide-digits": HEADER.replace("4B", "\uff14B", 1),
    "not-ascii": f"sha256={'é' * 64}",
    "base64": "sha256=S0n4/iWn5n0AT6ec+AtjAMd3tPIt5eEihPoEGFChdv0=",
}


def test_the_published_vector_is_good():
    assert len(BODY) == 236
    assert is_signed(BODY, HEADER, [SECRET])


def test_our_signature_of_the_published_body_is_the_published_header():
    assert sign(BODY, SECRET) == HEADER


@pytest.mark.parametrize("header", [HEADER.replace(PAIRS, PAIRS.lower()), f"sha256={HEX}", f"sha256={HEX.lower()}"], ids=range(3))
def test_case_and_hyphens_do_not_matter(header):  # A2
    assert is_signed(BODY, header, [SECRET])


@pytest.mark.parametrize("name", ZOO)
def test_any_other_header_is_refused(name):  # A2
    assert is_signed(BODY, ZOO[name], [SECRET]) is False


@pytest.mark.parametrize("secret", ["", SECRET.lower(), SECRET[:-1], f"{SECRET} ", "PDYkJQq6sESYHp_zJuTTBQ=="], ids=range(5))
def test_another_secret_is_refused(secret):  # A2
    assert is_signed(BODY, HEADER, [secret]) is False


def test_without_secrets_nothing_is_signed():
    assert is_signed(BODY, HEADER, []) is False
    assert is_signed(b"", sign(b"", ""), []) is False


@pytest.mark.parametrize("position", [0, 8, 117, 235])
def test_one_changed_byte_of_the_body_is_refused(position):  # A2
    changed = BODY[:position] + bytes([BODY[position] ^ 1]) + BODY[position + 1 :]
    assert is_signed(changed, HEADER, [SECRET]) is False


def test_the_raw_bytes_are_signed_and_not_what_they_mean():  # A2
    same = json.dumps(json.loads(BODY)).encode()

    assert json.loads(same) == json.loads(BODY)
    assert is_signed(same, HEADER, [SECRET]) is False
    assert is_signed(BODY + b"\n", HEADER, [SECRET]) is False


@pytest.mark.parametrize("secrets", [[SECRET, OTHER], [OTHER, SECRET], [OTHER, "third", SECRET]], ids=["first", "second", "third"])
def test_any_of_the_active_secrets_is_good(secrets):  # A2
    assert is_signed(BODY, HEADER, secrets)


def test_a_rotation_accepts_both_secrets_while_both_are_configured_and_then_the_new_one_alone():  # A2
    old, new = sign(BODY, SECRET), sign(BODY, OTHER)

    good = [[is_signed(BODY, header, active) for header in (old, new)] for active in ([SECRET], [SECRET, OTHER], [OTHER])]

    assert good == [[True, False], [True, True], [False, True]]


@pytest.mark.parametrize("body", [b"", b"{}", b"\x00\xff\n", "über £".encode(), bytes(range(256)) * 64], ids=range(5))
@pytest.mark.parametrize("secret", [SECRET, "ä secret", "x" * 200], ids=range(3))
def test_what_we_sign_verifies_with_its_secret_and_no_other(body, secret):
    header = sign(body, secret)

    assert is_signed(body, header, [secret])
    assert not is_signed(body, header, [OTHER])
    assert not is_signed(body + b" ", header, [secret])
