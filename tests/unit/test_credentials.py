"""Credentials: what opens the door, and that nothing malformed opens it or breaks it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.edge.credentials import Actor, BasicCredentials, Tokens

DOJO = BasicCredentials("epos-acc-1", "pass:wörd")
TOKENS = Tokens.parse("till:front:t0ken, auditor:Ann:a:b=c , operator:Olu:öp,")


def basic(pair, scheme="Basic "):
    return scheme + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize("scheme", ["Basic ", "basic ", "BASIC  "])
def test_the_registered_credentials_match(scheme):
    assert DOJO.matches(basic("epos-acc-1:pass:wörd", scheme))


# A1
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic ZXBv",
        "Basic ZXBvc",
        "Basic \u20ac",
        "Basic /////w==",
        "Bearer epos-acc-1:pass:wörd",
        "epos-acc-1:pass:wörd",
        "Basic epos-acc-1:pass:wörd",
        basic("epos-acc-1:"),
        basic(":pass:wörd"),
        basic("epos-acc-1:pass:wörd "),
        basic("epos-acc-1:pass:word"),
        basic("epos-acc-1:pass:wörd", scheme="Basic"),
        basic("epos-acc-1:pass:wörd")[:-1],
    ],
)
def test_anything_else_does_not_match(header):
    assert not DOJO.matches(header)


@given(st.text())
def test_a_header_of_any_kind_is_answered_without_an_error(text):
    assert not DOJO.matches(text)
    assert not DOJO.matches(f"Basic {text}")
    assert TOKENS.actor(f"Token {text}") is None


@pytest.mark.parametrize(("username", "password"), [("", "p"), ("u", ""), ("a:b", "p")])
def test_credentials_that_would_open_to_anybody_or_nobody_are_refused(username, password):
    with pytest.raises(ValueError, match="username"):
        BasicCredentials(username, password)


def test_secrets_are_not_in_the_repr():
    assert "wörd" not in repr(DOJO)
    assert "Ann" not in repr(TOKENS)


@pytest.mark.parametrize(
    ("header", "actor"),
    [
        ("Bearer t0ken", Actor("till", "front")),
        ("bearer a:b=c", Actor("auditor", "Ann")),
        ("Bearer " + "öp".encode().decode("latin-1"), Actor("operator", "Olu")),
        ("Bearer T0ken", None),
        ("Bearer t0ken2", None),
        ("Bearer ", None),
        ("Bearer \u20ac", None),
        ("Basic t0ken", None),
        ("t0ken", None),
        (None, None),
    ],
)
def test_a_token_names_its_actor(header, actor):
    assert TOKENS.actor(header) == actor


def test_without_tokens_nobody_is_an_actor():
    assert Tokens.parse("").actor("Bearer ") is None


@pytest.mark.parametrize(
    ("role", "may"),
    [("till", {"till"}), ("auditor", {"auditor"}), ("operator", {"operator", "auditor"})],
)
def test_an_operator_may_do_all_that_an_auditor_may(role, may):
    assert {wanted for wanted in ("till", "auditor", "operator") if Actor(role, "n").may(wanted)} == may


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("till:front:ok,s3cret", "entry 2: expected role:name:token"),
        ("s3cret:till:front", "entry 1: the role is none of till, auditor, operator"),
        ("till::s3cret", "entry 1: expected a name of 1 to 64 printable characters"),
        ("till:a\tb:s3cret", "entry 1: expected a name of 1 to 64 printable characters"),
        ("till:s3cret:", "entry 1: the token is empty"),
        ("till:a:s3cret,operator:b:s3cret", "two entries have the same token"),
    ],
)
def test_a_faulty_tokens_setting_is_named_without_its_secret(text, fault):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Tokens.parse(text)
    assert str(caught.value) == fault
