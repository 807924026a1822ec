"""Settings: what is read from where, what is refused and in which words, and that no secret is ever shown."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path

import pytest

from adapters.setting_kinds import Token
from adapters.settings import ROWS, Settings, SettingsError, describe, is_loopback, read_settings, shown

SECRET = "s3cr3t-value"


def read(toml_path=None, **settings):
    return read_settings({f"TILLPROOF_{name}": value for name, value in settings.items()}, toml_path)


def problems_of(toml_path=None, **settings):
    with pytest.raises(SettingsError) as caught:
        read(toml_path, **settings)
    return caught.value.problems


def only_problem_of(toml_path=None, **settings):
    (problem,) = problems_of(toml_path, **settings)
    return problem


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "tillproof.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_every_row_has_an_attribute_of_settings_and_the_other_way_round():
    attributes = [field.name for field in dataclasses.fields(Settings)]
    assert [row.field for row in ROWS] == attributes[:-1]
    assert attributes[-1] == "origins"


def test_without_any_setting_the_defaults_hold():
    settings = read()
    assert settings.listen == ("127.0.0.1", 8080)
    assert settings.console_listen == ("127.0.0.1", 8081)
    assert settings.journal == Path("tillproof.db")
    assert settings.dojo_url == "https://api.dojo.tech"
    assert settings.dojo_api_key is None
    assert settings.account_ids == settings.webhook_secrets == settings.tokens == ()
    assert settings.timezone.key == "Europe/London"
    assert (settings.retry_base_ms, settings.retry_cap_ms, settings.retry_horizon_s) == (500, 900_000, 259_200)
    assert (settings.outbound_workers, settings.retry_rps, settings.call_deadline_ms) == (32, 20, 10_000)
    assert (settings.lease_s, settings.sweep_s, settings.orphan_alarm_s, settings.paid_alarm_s) == (30, 60, 300, 120)
    assert (settings.max_body, settings.max_depth) == (1_048_576, 32)
    assert (settings.env, settings.order_and_pay_mode) == ("production", "event")
    assert set(settings.origins.values()) == {"default"}


def test_witness_and_key_stand_beside_the_journal_unless_told_otherwise():
    beside = read(JOURNAL="/var/lib/till.db")
    assert (beside.witness, beside.signing_key) == (Path("/var/lib/till.db.witness"), Path("/var/lib/till.db.key"))
    assert read(JOURNAL="/var/lib/till.db", WITNESS="/mnt/w").witness == Path("/mnt/w")


def test_environment_wins_over_file_and_file_over_default(toml):
    path = toml('lease_s = 7\nSWEEP_S = "8"\naccount_ids = ["acc_1", "acc_2"]\nvenue_name = "From the file"')
    settings = read(path, VENUE_NAME="From the environment")
    assert (settings.lease_s, settings.sweep_s, settings.max_depth) == (7, 8, 32)
    assert settings.account_ids == ("acc_1", "acc_2")
    assert settings.venue_name == "From the environment"
    assert settings.origins["LEASE_S"] == "tillproof.toml"
    assert settings.origins["VENUE_NAME"] == "environment"
    assert settings.origins["MAX_DEPTH"] == "default"


def test_an_absent_file_is_no_file(tmp_path):
    assert read(tmp_path / "tillproof.toml").lease_s == 30


def test_an_empty_variable_counts_as_not_given(toml):
    settings = read(toml("lease_s = 7"), LEASE_S="", DOJO_API_KEY="")
    assert (settings.lease_s, settings.dojo_api_key) == (7, None)


def test_variables_of_others_are_left_alone():
    assert read_settings({"PATH": "/bin", "LISTEN": "nonsense", "tillproof_listen": "nonsense"}, None).listen[1] == 8080


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("JOURNALL", "JOURNAL"),
        ("WEBHOOK_SECRET", "WEBHOOK_SECRETS"),
        ("DOJO_KEY", "DOJO_API_KEY"),
        ("EPOS_PASSWORD_FIEL", "EPOS_PASSWORD_FILE"),
        ("JOURNAL_FILE", "JOURNAL"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(toml, unknown, nearest):
    assert only_problem_of(**{unknown: "x"}) == f"TILLPROOF_{unknown}: there is no such setting; the nearest is {nearest}"
    assert only_problem_of(toml(f'{unknown.lower()} = "x"')).endswith(f"there is no such setting; the nearest is {nearest}")


def test_an_unknown_name_unlike_any_other_is_refused_too():
    assert "there is no such setting" in only_problem_of(ZZZ="x")


def test_all_faults_are_reported_together(toml):
    found = problems_of(toml('nonsense = 1\nmax_depth = "deep"'), LISTEN="nonsense", RETRY_BASE_MS="fast", ORDER_AND_PAY_MODE="sometimes")
    assert len(found) == 5


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LISTEN", "nonsense", "expected host:port"),
        ("LISTEN", ":8080", "expected host:port"),
        ("LISTEN", "127.0.0.1:65536", "expected host:port"),
        ("LISTEN", "::1:8080", "expected host:port"),
        ("PUBLIC_URL", "pos.example.com", "expected an http or https URL"),
        ("DOJO_URL", "ftp://api.dojo.tech", "expected an http or https URL"),
        ("DOJO_URL", "https://", "expected an http or https URL"),
        ("DOJO_URL", "https://api.dojo.tech:port", "expected an http or https URL"),
        ("DOJO_URL", "https://api.dojo.tech/?a=b", "expected an http or https URL"),
        ("DOJO_URL", "https://api.dojo.tech/\n", "expected an http or https URL"),
        ("JOURNAL", ":memory:", "expected a file's path"),
        ("DOJO_VERSION", "latest", "expected a date"),
        ("SOFTWARE_HOUSE_ID", "a b", "expected visible ASCII"),
        ("ACCOUNT_IDS", "acc_1,,acc_2", "expected a comma list"),
        ("EPOS_USERNAME", "dojo:epos", "expected text without colon"),
        ("CURRENCY", "gbp", "expected three capital letters"),
        ("TIMEZONE", "Europe/Atlantis", "expected an IANA time zone"),
        ("TIMEZONE", "Europe", "expected an IANA time zone"),
        ("TIMEZONE", "../etc/passwd", "expected an IANA time zone"),
        ("VENUE_NAME", "a\x1b[31mb", "expected text without control characters"),
        ("BILL_TEMPLATE", "no-such-file.toml", "expected the path of a file that exists"),
        ("ORDER_AND_PAY_MODE", "sometimes", "expected event or inline"),
        ("RETRY_BASE_MS", "fast", "expected a whole number from 1 to 3600000"),
        ("RETRY_BASE_MS", "0", "expected a whole number"),
        ("RETRY_BASE_MS", "1_000", "expected a whole number"),
        ("RETRY_BASE_MS", "٣", "expected a whole number"),
        ("RETRY_BASE_MS", "9" * 5_000, "expected a whole number"),
        ("ENV", "staging", "expected production or test"),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected_and_what_came(name, value, expected):
    problem = only_problem_of(**{name: value})
    assert problem.startswith(f"TILLPROOF_{name}: {expected}")
    assert repr(value[:20])[1:-1] in problem
    assert len(problem) < 300
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOJO_API_KEY", f"{SECRET} with space"),
        ("EPOS_PASSWORD", f"{SECRET}\x07"),
        ("WEBHOOK_SECRETS", f"{SECRET},,"),
        ("TILL_SECRET", f" {SECRET}"),
        ("TOKENS", f"king:anna:{SECRET}"),
        ("TOKENS", SECRET),
        ("TOKENS", f"till::{SECRET}"),
        ("TOKENS", f"{SECRET}:anna:"),
        ("TOKENS", f"till:anna:{SECRET},operator:bob:{SECRET}"),
    ],
)
def test_a_bad_secret_is_named_but_never_shown(toml, name, value):
    for problem in (
        only_problem_of(**{name: value}),
        only_problem_of(toml(f"{name} = {value!r}".replace("\\x07", "\\u0007").replace("'", '"'))),
    ):
        assert name in problem.upper()
        assert SECRET not in problem


def test_a_bad_token_is_told_by_its_place_in_the_list():
    assert only_problem_of(TOKENS=f"till:anna:{SECRET},king:bob:x").endswith("(a secret, not shown) in entry 2")


@pytest.mark.parametrize("name", ["DOJO_URL", "TILL_URL", "PUBLIC_URL", "JOURNAL"])
def test_a_password_in_a_url_is_refused_and_not_shown(name):
    problem = only_problem_of(**{name: f"https://user:{SECRET}@api.dojo.tech"})
    assert SECRET not in problem
    assert "https://***@api.dojo.tech" in problem


def test_a_postgresql_journal_is_recognised_and_refused_for_now():
    problem = only_problem_of(JOURNAL=f"postgresql://till:{SECRET}@db/till")
    assert "this version keeps its journal in SQLite" in problem
    assert SECRET not in problem


@pytest.mark.parametrize(
    ("text", "address"),
    [("localhost:0", ("localhost", 0)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:8080", ("::1", 8080))],
)
def test_an_address_is_a_host_and_a_port(text, address):
    assert read(LISTEN=text).listen == address


def test_a_url_loses_its_last_slash():
    assert read(PUBLIC_URL="https://pos.example.com/dojo/").public_url == "https://pos.example.com/dojo"


def test_tokens_have_role_name_and_token_and_a_token_may_hold_colons():
    settings = read(TOKENS="till:till 1:a:b, operator:José:c")
    assert settings.tokens == (Token("till", "till 1", "a:b"), Token("operator", "José", "c"))


def test_a_secret_may_come_from_a_file_without_its_last_line_end(tmp_path, toml):
    secret = tmp_path / "secret"
    secret.write_bytes(f"{SECRET}\r\n".encode())
    assert read(EPOS_PASSWORD_FILE=str(secret)).epos_password == SECRET
    assert read(toml(f"epos_password_file = '{secret}'")).epos_password == SECRET
    assert read(EPOS_PASSWORD_FILE=str(secret)).origins["EPOS_PASSWORD"] == "environment"


def test_a_secret_in_the_environment_wins_over_a_file_named_in_the_toml_file(tmp_path, toml):
    secret = tmp_path / "secret"
    secret.write_text("from the file")
    assert read(toml(f"epos_password_file = '{secret}'"), EPOS_PASSWORD=SECRET).epos_password == SECRET


def test_a_secret_given_twice_in_one_place_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("other")
    assert "EPOS_PASSWORD is given as well" in only_problem_of(EPOS_PASSWORD=SECRET, EPOS_PASSWORD_FILE=str(secret))


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_an_unusable_secret_file_is_named(tmp_path, content):
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    assert repr(str(secret)) in only_problem_of(EPOS_PASSWORD_FILE=str(secret))


@pytest.mark.parametrize(
    "text", ["lease_s = 1.5", "lease_s = true", "lease_s = [1]", "[lease_s]\na = 1", 'account_ids = ["a,b"]', "account_ids = [1]"]
)
def test_a_value_of_the_wrong_toml_type_is_refused(toml, text):
    assert "got a TOML" in only_problem_of(toml(text))


def test_a_key_in_both_spellings_is_refused(toml):
    assert "given twice" in only_problem_of(toml("lease_s = 1\nLEASE_S = 2"))


@pytest.mark.parametrize("content", [b"lease_s = ", b"\xff", b"lease_s 3"])
def test_a_file_that_is_not_toml_is_named(tmp_path, content):
    path = tmp_path / "tillproof.toml"
    path.write_bytes(content)
    assert only_problem_of(path).startswith(f"{path}: cannot be read")


def test_the_repr_shows_settings_but_no_secret():
    settings = read(
        DOJO_API_KEY=SECRET,
        EPOS_USERNAME="dojo",
        EPOS_PASSWORD=SECRET,
        WEBHOOK_SECRETS=SECRET,
        TOKENS=f"till:anna:{SECRET}",
        TILL_SECRET=SECRET,
    )
    assert SECRET not in repr(settings)
    assert SECRET not in repr(settings.tokens)
    assert "epos_username='dojo'" in repr(settings)
    assert "dojo_api_key='***'" in repr(settings)


def test_settings_are_shown_with_their_origin_and_of_secrets_only_that_they_are_given():
    given = {"DOJO_API_KEY": SECRET, "WEBHOOK_SECRETS": f"{SECRET}1,{SECRET}2", "TOKENS": f"till:anna:{SECRET}", "LISTEN": "[::1]:8080"}
    found = {each.description.name: (each.value, each.origin) for each in shown(read(**given))}

    assert list(found) == [row.name for row in ROWS]
    assert SECRET not in str(found)
    assert {name: value for name, (value, origin) in found.items() if origin == "environment"} == {
        "LISTEN": "[::1]:8080",
        "DOJO_API_KEY": "***",
        "WEBHOOK_SECRETS": "***, ***",
        "TOKENS": "till:anna:***",
    }
    assert (found["TILL_SECRET"], found["TIMEZONE"]) == (("–", "default"), ("Europe/London", "default"))


def test_the_secrets_to_mask_are_all_of_them_and_the_encoded_credentials():
    settings = read(
        DOJO_API_KEY="k", EPOS_USERNAME="dojo", EPOS_PASSWORD="p", WEBHOOK_SECRETS="w1,w2", TOKENS="till:anna:t", TILL_SECRET="s"
    )
    assert settings.secrets() == ("k", "p", "w1", "w2", "t", "s", "ZG9qbzpw")


def test_settings_survive_the_way_into_another_process():
    settings = read(TOKENS="till:anna:t", DOJO_API_KEY="k")
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_every_setting_is_described_for_people():
    described = describe()
    assert [row.name for row in ROWS] == [description.name for description in described]
    assert all(description.meaning and description.expected for description in described)
    witness = next(description for description in described if description.name == "WITNESS")
    assert (witness.default, witness.secret) == ("<journal>.witness", False)


FIT_TO_SERVE = {"DOJO_API_KEY": "sk_prod_1", "EPOS_USERNAME": "dojo", "EPOS_PASSWORD": SECRET}


def test_complete_settings_may_serve():
    assert read(**FIT_TO_SERVE).problems_for_serving() == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"DOJO_API_KEY": ""}, "DOJO_API_KEY"),
        ({"EPOS_USERNAME": ""}, "EPOS_USERNAME"),
        ({"EPOS_PASSWORD": ""}, "EPOS_PASSWORD"),
        ({"ENV": "test"}, "ENV"),
        ({"DOJO_URL": "http://dojo.example.com"}, "DOJO_URL"),
        ({"DOJO_URL": "http://127.0.0.1:9000"}, "DOJO_URL"),
        ({"DOJO_URL": "http://dojo.example.com", "ENV": "test", "DOJO_API_KEY": "sk_sandbox_1"}, "DOJO_URL"),
        ({"CONSOLE_LISTEN": "0.0.0.0:8081"}, "CONSOLE_LISTEN"),
        ({"CONSOLE_LISTEN": "[::]:8081"}, "CONSOLE_LISTEN"),
        ({"TILL_URL": "https://till.example.com"}, "TILL_SECRET"),
    ],
)
def test_settings_that_contradict_each_other_may_not_serve(change, named):
    (problem,) = read(**(FIT_TO_SERVE | change)).problems_for_serving()
    assert problem.startswith(f"TILLPROOF_{named}: ")
    assert SECRET not in problem


ONE_FILE = [
    # settings                                                   named          is the same file as
    ({"WITNESS": "tillproof.db"},                                "WITNESS",     "JOURNAL's tillproof.db"),
    ({"WITNESS": "sub/../tillproof.db"},                         "WITNESS",     "JOURNAL's tillproof.db"),
    ({"WITNESS": "./tillproof.db-wal"},                          "WITNESS",     "JOURNAL's tillproof.db-wal"),
    ({"WITNESS": "tillproof.db-shm"},                            "WITNESS",     "JOURNAL's tillproof.db-shm"),
    ({"WITNESS": "tillproof.db.lock"},                           "WITNESS",     "JOURNAL's tillproof.db.lock"),
    ({"WITNESS": "tillproof.db.key"},                            "SIGNING_KEY", "WITNESS's tillproof.db.key"),
    ({"WITNESS": "tillproof.db.key.next"},                       "SIGNING_KEY", "WITNESS's tillproof.db.key.next"),
    ({"SIGNING_KEY": "tillproof.db"},                            "SIGNING_KEY", "JOURNAL's tillproof.db"),
    ({"SIGNING_KEY": "tillproof.db.new"},                        "SIGNING_KEY", "JOURNAL's tillproof.db.new"),
    ({"JOURNAL": "w.accepting", "WITNESS": "w"},                 "WITNESS",     "JOURNAL's w.accepting"),
    ({"JOURNAL": "w.broken", "WITNESS": "w"},                    "WITNESS",     "JOURNAL's w.broken"),
    ({"WITNESS": "hard-link"},                                   "WITNESS",     "JOURNAL's tillproof.db"),
    ({"WITNESS": "symbolic-link"},                               "WITNESS",     "JOURNAL's tillproof.db"),
    ({"WITNESS": "link-of-the-folder/tillproof.db-wal"},         "WITNESS",     "JOURNAL's tillproof.db-wal"),
    ({"WITNESS": "dangling-link"},                               "WITNESS",     "JOURNAL's tillproof.db-wal"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named", "told"), ONE_FILE, ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else ""
)
def test_two_files_that_are_one_may_not_serve_by_whatever_names(tmp_path, monkeypatch, changes, named, told):  # S14
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tillproof.db").write_bytes(b"journal")
    os.link("tillproof.db", "hard-link")
    os.symlink("tillproof.db", "symbolic-link")
    os.symlink("tillproof.db-wal", "dangling-link")
    os.symlink(".", "link-of-the-folder")

    (problem,) = read(**(FIT_TO_SERVE | changes)).problems_for_serving()

    assert problem.startswith(f"TILLPROOF_{named}: ")
    assert f"is the same file as {told}; give each a file of its own" in problem


def test_files_of_a_link_that_leads_to_itself_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    assert read(**FIT_TO_SERVE, WITNESS="loop/witness", SIGNING_KEY=".").problems_for_serving() == []


@pytest.mark.parametrize(("key", "is_live"), [("sk_prod_1", True), ("sk_sandbox_1", False), ("my_sk_prod_1", False), (None, False)])
def test_by_its_beginning_a_key_is_for_real_money(key, is_live):
    assert read(**({"DOJO_API_KEY": key} if key else {})).is_live is is_live


def test_a_test_needs_no_epos_credentials_and_may_speak_plain_http_on_loopback():
    assert read(ENV="test", DOJO_API_KEY="sk_sandbox_1", DOJO_URL="http://localhost:9000").problems_for_serving() == []


def test_half_of_the_epos_credentials_is_a_fault_even_in_a_test():
    (problem,) = read(ENV="test", DOJO_API_KEY="sk_sandbox_1", EPOS_USERNAME="dojo").problems_for_serving()
    assert problem.startswith("TILLPROOF_EPOS_PASSWORD")


def test_a_console_beyond_loopback_is_fine_with_tokens():
    assert read(**FIT_TO_SERVE, CONSOLE_LISTEN="0.0.0.0:8081", TOKENS="till:anna:t").problems_for_serving() == []


@pytest.mark.parametrize(
    ("host", "expected"), [("127.8.8.8", True), ("::1", True), ("LOCALHOST", True), ("0.0.0.0", False), ("localhost.example.com", False)]
)
def test_only_this_machine_is_loopback(host, expected):
    assert is_loopback(host) is expected
