"""What doctor says of each misconfiguration, and how it says to mend it."""

from __future__ import annotations

import os
import shutil
import socket
from datetime import timedelta
from types import SimpleNamespace

import pytest

from adapters import outbound
from adapters.checks import choices, examine, surroundings
from adapters.outbound import Call
from adapters.settings import read_settings
from tests.builders import FixedClock, Venue
from tests.contract.running import free_port, sqlite
from workflow.errors import TryAgain
from workflow.journal.keys import load_key, load_or_make_key, make_next_key, next_path
from workflow.journal.reads import SqliteReads
from workflow.journal.schema import SCHEMA_VERSION
from workflow.ledger import key_id

GOOD = "a secret of thirty characters."


def findings(folder, **given):
    environ = {f"TILLPROOF_{name}": value for name, value in ({"JOURNAL": str(folder / "none.db")} | given).items()}
    found = examine(environ, folder / "tillproof.toml", lambda settings: pytest.fail("Dojo is asked without a key"), FixedClock())
    return [(one.level, one.text) for one in found if one.name == "till"]


def test_a_till_that_is_not_called_is_fine(tmp_path):
    ((level, text),) = findings(tmp_path)
    assert (level, "TILL_URL is absent" in text) == ("ok", True)


def test_a_secret_without_an_address_signs_nothing(tmp_path):
    assert findings(tmp_path, TILL_SECRET=GOOD)[1:] == [("warn", "TILL_SECRET signs nothing without TILL_URL")]


@pytest.fixture
def till_port():
    """A port at which somebody listens who never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as till:
        yield till.getsockname()[1]


def test_doctor_says_what_is_called_and_that_somebody_is_there(tmp_path, till_port):
    url = f"http://127.0.0.1:{till_port}/hook"
    assert findings(tmp_path, TILL_URL=url, TILL_SECRET=GOOD) == [
        ("ok", f"called at {url}, and nowhere else"),
        ("ok", f"{url} takes connections"),
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_till_at_whose_address_nobody_listens_is_a_warning(tmp_path, host):
    url = f"http://{host}:{free_port()}/hook"

    (_, (level, text)) = findings(tmp_path, TILL_URL=url, TILL_SECRET=GOOD)

    assert (level, f"{url} cannot be reached: Connection refused" in text) == ("warn", True)


def test_a_till_that_takes_no_connection_holds_doctor_up_for_no_longer_than_it_may(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "REACH_SECONDS", 0.05)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)  # Nobody accepts: the queue is full, and who comes now is not answered.

        (_, (level, text)) = findings(tmp_path, TILL_URL=f"http://127.0.0.1:{address[1]}", TILL_SECRET=GOOD)

        for one in waiting:
            one.close()
    assert (level, "cannot be reached" in text) == ("warn", True)


def test_without_a_port_the_till_is_looked_for_where_its_scheme_says(monkeypatch):
    asked = []
    monkeypatch.setattr(outbound, "_connect", lambda host, port, progress: asked.append((host, port)) or socket.socket())

    for url in ("http://till.example.com", "https://till.example.com/hook", "https://till.example.com:8443"):
        outbound.reach(url, 1.0)

    assert asked == [("till.example.com", 80), ("till.example.com", 443), ("till.example.com", 8443)]


def of_the_till(**given):
    settings = read_settings({f"TILLPROOF_{name}": value for name, value in given.items()}, None)
    return [(one.level, one.text) for one in choices.till(settings)]


@pytest.mark.parametrize("url", ["http://192.168.1.20:9000/hook", "http://till.example.com"])
def test_plain_http_beyond_this_machine_is_a_warning_and_no_failure(url):
    (_, (level, text)) = of_the_till(TILL_URL=url, TILL_SECRET=GOOD)
    assert (level, text.partition(":")[0]) == ("warn", "plain http beyond this machine")


def test_a_secret_that_can_be_guessed_is_a_warning():
    (_, (level, text)) = of_the_till(TILL_URL="https://till.example.com", TILL_SECRET="till1234")
    assert (level, "till1234" in text) == ("warn", False)


# Each misconfiguration beside what doctor calls it and how it says to mend it


PRODUCTION = {
    "ENV": "production",
    "DOJO_API_KEY": "sk_prod_of_a_test",
    "DOJO_URL": "https://127.0.0.1:9",
    "PUBLIC_URL": "https://pos.example.com",
    "SOFTWARE_HOUSE_ID": "sh_1",
    "EPOS_USERNAME": "dojo",
    "EPOS_PASSWORD": GOOD,
    "WEBHOOK_SECRETS": GOOD.replace(" ", "-"),
    "TOKENS": "till:bar:token-of-the-till-1,auditor:ann:token-of-the-auditor,operator:olga:token-of-operator",
    "LISTEN": "127.0.0.1:0",
    "CONSOLE_LISTEN": "127.0.0.1:0",
    "TRUSTED_PROXIES": "127.0.0.1",
}


class SilentDojo:
    """A Dojo that cannot be reached, but whose clock is known."""

    def __init__(self, clock, apart=0.0):
        self.clock, self.apart = clock, apart

    def __call__(self, settings, *, on_call=None):
        answered_at = self.clock.now() + timedelta(seconds=self.apart)
        on_call(Call(method="GET", path="/epos/integrations", status=503, seconds=0.1, answered_at=answered_at))
        return self

    def integrations(self):
        raise TryAgain("no answer")


def examined(folder, apart=0.0, **changes):
    """What doctor finds in production with these settings changed; None takes a setting away."""
    given = PRODUCTION | {"JOURNAL": folder / "journal" / "tillproof.db"} | changes
    environ = {f"TILLPROOF_{name}": str(value) for name, value in given.items() if value is not None}
    return examine(environ, folder / "tillproof.toml", SilentDojo(FixedClock(), apart), FixedClock())


def named(found, name):
    return [(one.level, one.text, one.mend) for one in found if one.name == name]


SETTINGS_TABLE = [
    # settings changed                               level   name             in the text                     in the mend
    ({"CURENCY": "GBP"},                             "FAIL", "settings",      "the nearest is CURRENCY",      "rename it"),
    ({"RETRY_RPS": "soon"},                          "FAIL", "settings",      "TILLPROOF_RETRY_RPS",          "correct the setting"),
    ({"DOJO_API_KEY": None, "DOJO_API_KEY_FILE": "/none"}, "FAIL", "settings", "DOJO_API_KEY_FILE",           "can read"),
    ({"EPOS_PASSWORD": None},                        "FAIL", "settings",      "TILLPROOF_EPOS_PASSWORD",      "set it"),
    ({"DOJO_API_KEY": None},                         "FAIL", "settings",      "TILLPROOF_DOJO_API_KEY",       "set it"),
    ({"DOJO_URL": "http://dojo.example.com"},        "FAIL", "settings",      "plain http would show the API key", "set it"),
    ({"TILL_URL": "https://127.0.0.1:9"},             "FAIL", "settings",      "TILL_SECRET: required",        "set it"),
    ({"CONSOLE_LISTEN": "0.0.0.0:0", "TOKENS": None}, "FAIL", "settings",     "beyond loopback",              "set it"),
    ({"WITNESS": "w", "SIGNING_KEY": "w"},           "FAIL", "settings",      "w is the same file as WITNESS's w", "change one"),
    ({"WITNESS": "a/../w", "SIGNING_KEY": "w"},      "FAIL", "settings",      "same file as WITNESS's a/../w", "change one"),
    ({"WITNESS": "journal/tillproof.db-wal"},        "FAIL", "settings",      "same file as JOURNAL's",       "change one"),
    ({"LISTEN": "127.0.0.1:7", "CONSOLE_LISTEN": "127.0.0.1:7"}, "FAIL", "settings", "are one address",       "change one"),
    ({"LISTEN": "0.0.0.0:7", "CONSOLE_LISTEN": "127.0.0.1:7"}, "FAIL", "settings", "0.0.0.0:7 takes in 127.0.0.1:7", "change one"),
    ({"LISTEN": "localhost:7", "CONSOLE_LISTEN": "0.0.0.0:7"}, "FAIL", "settings", "0.0.0.0:7 takes in localhost:7", "change one"),
    ({"LISTEN": "[::]:7", "CONSOLE_LISTEN": "[::1]:7"}, "FAIL", "settings",   "[::]:7 takes in [::1]:7",      "change one"),
    ({"LEASE_S": "5"},                               "warn", "settings",      "calls are sent twice",         "LEASE_S longer"),
    ({"RETRY_BASE_MS": "10", "RETRY_CAP_MS": "5"},   "warn", "settings",      "longer than the longest",      "change one"),
    ({"ENV": "test", "EPOS_USERNAME": None, "EPOS_PASSWORD": None, "DOJO_API_KEY": "sk_sandbox_1"},
                                                     "warn", "settings",      "anybody may call",             "ENV=production"),
    ({"ENV": "test"},                                "FAIL", "settings",      "a production key",             "set it"),
    ({"DOJO_API_KEY": "sk_sandbox_1"},               "warn", "Dojo key",      "no real money",                "DOJO_API_KEY"),
    ({"SOFTWARE_HOUSE_ID": None},                    "warn", "software house", "SOFTWARE_HOUSE_ID is absent", "as Dojo told it"),
    ({"LISTEN": "0.0.0.0:0"},                        "warn", "plain http",    "LISTEN is 0.0.0.0",            "a TLS proxy"),
    ({"PUBLIC_URL": None},                           "warn", "public URL",    "PUBLIC_URL is absent",         "set TILLPROOF_PUBLIC_URL"),
    ({"PUBLIC_URL": "http://pos.example.com"},       "FAIL", "public URL",    "is not https",                 "set TILLPROOF_PUBLIC_URL"),
    ({"PUBLIC_URL": "https://localhost:8080"},       "FAIL", "public URL",    "cannot reach",                 "a public address"),
    ({"TRUSTED_PROXIES": "10.0.0.1,0.0.0.0/0"},      "warn", "proxies",       "holds 0.0.0.0/0, which",       "the proxy alone"),
    ({"TRUSTED_PROXIES": "::/0"},                    "warn", "proxies",       "holds ::/0, which is",         "the proxy alone"),
    ({"TRUSTED_PROXIES": None},                      "warn", "proxies",       "TRUSTED_PROXIES is absent",    "set TILLPROOF_TRUSTED"),
    ({"TOKENS": None},                               "warn", "tokens",        "nobody can use",               "set TILLPROOF_TOKENS"),
    ({"TOKENS": "auditor:ann:token-of-the-auditor"}, "warn", "tokens",        "no token of role till",        "add till:name:token"),
    ({"TOKENS": "till:bar:token-of-the-till-1"},     "warn", "tokens",        "no token of role operator",    "add operator:name:token"),
    ({"TOKENS": "till:bar:token-of-the-till-1"},     "warn", "tokens",        "no token of role auditor",     "add auditor:name:token"),
    ({"TOKENS": "till:bar:short"},                   "warn", "weak secret",   "the token of bar",             "secrets.token_urlsafe"),
    ({"EPOS_PASSWORD": "short"},                     "warn", "weak secret",   "EPOS_PASSWORD",                "secrets.token_urlsafe"),
    ({"WEBHOOK_SECRETS": "short"},                   "warn", "weak secret",   "one of WEBHOOK_SECRETS",       "secrets.token_urlsafe"),
    ({"WEBHOOK_SECRETS": None},                      "warn", "webhooks",      "webhooks are refused",         "set TILLPROOF_WEBHOOK"),
    ({"TILL_SECRET": GOOD},                          "warn", "till",          "signs nothing",                "set TILLPROOF_TILL_URL"),
    ({"LISTEN": "192.0.2.1:8080"},                   "FAIL", "listener",      "cannot be had",                "set TILLPROOF_LISTEN"),
    ({},                                             "FAIL", "Dojo",          "does not answer",              "check TILLPROOF_DOJO_URL"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "level", "name", "text", "mend"), SETTINGS_TABLE, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_a_misconfiguration_is_named_with_its_mend(tmp_path, monkeypatch, changes, level, name, text, mend):
    monkeypatch.chdir(tmp_path)

    found = named(examined(tmp_path, **changes), name)

    assert [(level, True) for one in found if text in one[1]] == [(one[0], mend in one[2]) for one in found if text in one[1]] != []


@pytest.mark.parametrize(
    ("listen", "console"), [("0.0.0.0:0", "127.0.0.1:0"), ("0.0.0.0:7", "127.0.0.1:8"), ("[::]:7", "127.0.0.1:7"), ("[::1]:7", "0.0.0.0:7")]
)
def test_addresses_that_can_be_had_side_by_side_are_no_contradiction(tmp_path, listen, console):
    found = named(examined(tmp_path, LISTEN=listen, CONSOLE_LISTEN=console), "settings")

    assert [level for level, _, _ in found] == ["ok"]


def test_a_setting_that_cannot_be_used_hides_nothing_but_what_hangs_on_it(tmp_path):
    found = examined(tmp_path, RETRY_RPS="soon", PUBLIC_URL="pos", TOKENS="till:bar:short", LISTEN="192.0.2.1:8080")

    wrong = {(one.name, one.level) for one in found if one.level in {"FAIL", "warn"}}
    assert wrong == {
        ("settings", "FAIL"),
        ("tokens", "warn"),
        ("weak secret", "warn"),
        ("witness", "warn"),
        ("listener", "FAIL"),
        ("plain http", "warn"),
    }
    assert [one.text.partition(":")[0] for one in found if one.name == "settings"] == ["TILLPROOF_PUBLIC_URL", "TILLPROOF_RETRY_RPS"]
    assert [one.level for one in found if one.name == "Dojo"] == ["skip"]


def test_where_the_journals_path_cannot_be_used_nothing_is_said_of_another_journal(tmp_path):
    found = examined(tmp_path, JOURNAL="postgresql://db/tillproof", EPOS_PASSWORD=None, EPOS_PASSWORD_FILE=tmp_path / "none")

    assert [one.text.partition(":")[0] for one in found if one.level == "FAIL"] == ["TILLPROOF_EPOS_PASSWORD_FILE", "TILLPROOF_JOURNAL"]
    assert {one.name for one in found} & {"journal", "witness", "disk", "signing key"} == set()


def test_a_settings_file_that_is_not_toml_is_to_be_corrected_first(tmp_path):
    (tmp_path / "tillproof.toml").write_text("journal = [")

    [(level, text, mend)] = [(one.level, one.text, one.mend) for one in examined(tmp_path)]

    assert (level, "cannot be read" in text, mend.startswith("correct the file")) == ("FAIL", True, True)


def test_of_a_good_configuration_only_dojo_and_the_one_disk_are_named(tmp_path):
    found = examined(tmp_path)

    assert [(one.level, one.name) for one in found if one.level in {"FAIL", "warn"}] == [("warn", "witness"), ("FAIL", "Dojo")]
    assert [one.mend for one in found if one.level in {"FAIL", "warn"} and not one.mend] == []
    assert list(tmp_path.iterdir()) == []  # Nothing was made.


def test_no_finding_shows_a_secret(tmp_path):
    canaries = {"EPOS_PASSWORD": "canary1", "WEBHOOK_SECRETS": "canary2", "TOKENS": "till:bar:canary3", "DOJO_API_KEY": "sk_prod_canary4"}

    said = str(examined(tmp_path, TILL_URL="https://127.0.0.1:9", TILL_SECRET="canary5", **canaries))

    assert [word for word in ("canary1", "canary2", "canary3", "canary4", "canary5") if word in said] == []


@pytest.mark.parametrize(("apart", "level"), [(0.0, "ok"), (59.0, "ok"), (-600.0, "warn"), (600.0, "warn")])
def test_a_clock_that_is_far_from_dojos_is_a_warning(tmp_path, apart, level):
    [(found, text, _)] = named(examined(tmp_path, apart), "clock")

    assert (found, "600 s from Dojo's" in text) == (level, level == "warn")


# Files and the machine


@pytest.fixture
def kept(tmp_path):
    """A venue's journal, its server stopped."""
    venue = Venue(tmp_path)
    venue.create()
    venue.close()
    files = {"JOURNAL": tmp_path / "tillproof.db", "WITNESS": venue.witness, "SIGNING_KEY": tmp_path / "tillproof.key"}
    return SimpleNamespace(folder=tmp_path, files=files, find=lambda name, **changes: named(examined(tmp_path, **(files | changes)), name))


def test_a_journal_that_is_whole_is_said_to_be_there(kept):
    assert [(level, "entries" in text) for level, text, _ in kept.find("journal")] == [("ok", True)]
    assert [level for level, _, _ in kept.find("witness")] == ["ok", "warn"]
    assert kept.find("file mode") == kept.find("signing key") == kept.find("directory") == []


def newer(path):
    sqlite(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def foreign(path):
    sqlite(path, "PRAGMA application_id = 7")


def a_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "text", "mend"),
    [
        (newer, "has schema", "install the version"),
        (foreign, "another program", "point TILLPROOF_JOURNAL"),
        (a_directory, "not a plain file", "point"),
    ],
)
def test_a_journal_that_is_none_of_ours_is_named(kept, change, text, mend):
    change(kept.files["JOURNAL"])

    [(level, said, how)] = kept.find("journal")

    assert (level, text in said, mend in how) == ("FAIL", True, True)


def another_programs(path):
    path.write_text("somebody's")


@pytest.mark.parametrize("change", [foreign, another_programs, a_directory])
def test_nobody_is_told_to_change_what_is_no_journal_of_ours_or_to_look_for_its_key(kept, change):
    change(kept.files["JOURNAL"])
    kept.files["JOURNAL"].chmod(0o755)
    kept.files["SIGNING_KEY"].unlink()

    assert kept.find("file mode") == kept.find("signing key") == []


def test_a_signing_key_that_is_not_in_force_is_named_with_the_one_that_is(kept):
    ours = load_key(kept.files["SIGNING_KEY"]).public_key()
    kept.files["SIGNING_KEY"].unlink()
    load_or_make_key(kept.files["SIGNING_KEY"])
    signs = key_id(SqliteReads(kept.files["JOURNAL"]).origin(), ours).hex()

    assert ("FAIL", True, True) in [
        (level, f"signed by {signs} now" in text, "put that key's file in its place" in mend)
        for level, text, mend in kept.find("signing key")
    ]


def test_a_rotation_of_the_key_that_a_crash_interrupted_is_named(kept):
    make_next_key(kept.files["SIGNING_KEY"])
    next_path(kept.files["SIGNING_KEY"]).chmod(0o644)

    assert [(level, "tillproof serve ends that" in mend) for level, _, mend in kept.find("signing key")] == [("warn", True)]
    assert [(level, "tillproof.key.next" in text) for level, text, _ in kept.find("file mode")] == [("FAIL", True)]


def test_an_older_journal_than_its_witness_saw_is_named(kept):
    kept.files["WITNESS"].write_text(f"999 {'0' * 64}\n")

    assert ("FAIL", True) in [(level, "its witness saw 999" in text) for level, text, _ in kept.find("witness")]


def test_the_witness_of_another_journal_is_named_although_it_saw_no_more_entries(kept):
    size = kept.files["WITNESS"].read_text().splitlines()[0].split()[0]
    kept.files["WITNESS"].write_text(f"{size} {'0' * 64}\n")

    [(level, text, mend), *_] = kept.find("witness")

    assert (level, f"differs from what its witness saw at size {size}" in text, "tillproof journal verify" in mend) == ("FAIL", True, True)


def test_a_witness_whose_journal_is_gone_is_named(kept):
    kept.files["JOURNAL"].unlink()

    assert [(level, "there is no journal at" in text) for level, text, _ in kept.find("witness")][0] == ("FAIL", True)
    assert kept.find("journal") == []


def test_a_tree_without_the_nodes_that_the_witness_is_compared_with_is_named(kept):
    sqlite(kept.files["JOURNAL"], "DELETE FROM tree_node", "UPDATE meta SET value = value")

    assert [(level, mend) for level, text, mend in kept.find("journal") if "tree lacks" in text] == [("FAIL", "tillproof journal verify")]


@pytest.mark.parametrize("is_there", [True, False], ids=["beside-its-journal", "before-the-first-start"])
def test_another_programs_file_in_the_witnesss_place_is_named(kept, is_there):
    kept.files["WITNESS"].write_text("Dear diary")
    kept.files["WITNESS"].chmod(0o644)
    if not is_there:
        kept.files["JOURNAL"].unlink()

    [(level, text, mend), *_] = kept.find("witness")

    assert (level, "is no witness" in text, mend.startswith("set TILLPROOF_WITNESS")) == ("FAIL", True, True)
    assert kept.find("file mode") == []  # Nobody is told to change what may be another program's.


def test_where_the_witness_is_the_journal_nobody_is_told_to_put_that_aside(kept):
    assert [mend for _, _, mend in kept.find("witness", WITNESS=kept.files["JOURNAL"])][0] == "set TILLPROOF_WITNESS to the witness"


def test_a_witness_that_is_a_directory_is_named(kept):
    kept.files["WITNESS"].unlink()
    kept.files["WITNESS"].mkdir()

    assert [(level, "not a plain file" in text) for level, text, _ in kept.find("witness")][0] == ("FAIL", True)


def test_a_witness_without_a_line_is_named(kept):
    kept.files["WITNESS"].write_text("")

    assert ("warn", True, True) in [(level, "lost tail" in text, "TILLPROOF_WITNESS" in mend) for level, text, mend in kept.find("witness")]


@pytest.mark.parametrize("name", ["tillproof.db", "tillproof.db-wal", "tillproof.db-shm", "tillproof.witness", "tillproof.key"])
def test_a_file_that_others_can_read_is_named_with_its_mend(kept, name):  # S17
    path, server = kept.folder / name, Venue(kept.folder)
    server.create("written")  # An empty WAL is made like the journal itself by SQLite.
    path.chmod(0o644)

    [(level, text, mend)] = kept.find("file mode")
    server.close()

    assert (level, str(path) in text, mend) == ("FAIL", True, f"chmod 600 {path}")


def test_a_directory_in_which_anybody_may_write_is_named(kept):
    kept.folder.chmod(0o777)

    assert kept.find("file mode") == [("FAIL", f"anybody may replace the files in {kept.folder}", f"chmod 700 {kept.folder}")]


def test_files_of_secrets_that_others_can_read_are_named_wherever_they_were_given(kept):
    by_environment, by_file, settings = (kept.folder / name for name in ("key", "password", "tillproof.toml"))
    by_environment.write_text("sk_prod_of_a_test")
    by_file.write_text(GOOD)
    settings.write_text(f'epos_password_file = "{by_file}"\nwebhook_secrets = ["{PRODUCTION["WEBHOOK_SECRETS"]}"]\n')
    for path in (by_environment, by_file, settings):
        path.chmod(0o640)

    found = kept.find("file mode", DOJO_API_KEY=None, DOJO_API_KEY_FILE=by_environment, EPOS_PASSWORD=None, WEBHOOK_SECRETS=None)

    assert {(level, mend) for level, _, mend in found} == {("warn", f"chmod 600 {path}") for path in (by_environment, by_file, settings)}


def test_a_settings_file_without_a_secret_may_be_read_by_anybody(kept):
    (kept.folder / "tillproof.toml").write_text('venue_name = "The Crown"\n')
    (kept.folder / "tillproof.toml").chmod(0o644)

    assert kept.find("file mode") == []


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    found = named(examined(tmp_path, JOURNAL=tmp_path / "file" / "below" / "tillproof.db"), "directory")

    assert [(level, str(tmp_path / "file") in mend) for level, _, mend in found] == [("FAIL", True)]


def test_what_cannot_be_written_is_named(kept, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # A superuser, who may run this, may write everywhere.

    assert [level for level, text, mend in kept.find("directory") if "cannot be written" in text and "chmod" in mend] == ["FAIL"]
    assert [level for level, text, mend in kept.find("journal") if "cannot be written" in text and "chmod" in mend] == ["FAIL"]


@pytest.mark.parametrize(("free", "levels"), [(5_000_000, ["FAIL"]), (500_000_000, ["warn"]), (5_000_000_000, [])])
def test_a_disk_that_is_nearly_full_is_named(kept, monkeypatch, free, levels):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))

    assert [level for level, text, mend in kept.find("disk") if mend == "free space there"] == levels


def test_a_lost_or_unreadable_key_beside_its_journal_is_named(kept):
    key = kept.files["SIGNING_KEY"]
    key.write_text("no key")
    [(level, text, mend)] = kept.find("signing key")
    assert (level, "not an unencrypted PEM" in text, mend.startswith("restore the file")) == ("FAIL", True, True)

    key.unlink()

    [(level, text, mend)] = kept.find("signing key")
    assert (level, "is not there" in text, mend.startswith("restore the file")) == ("FAIL", True, True)


def test_a_port_of_another_program_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = named(examined(tmp_path, LISTEN=f"127.0.0.1:{port}"), "listener")

    assert [(level, "another program's" in text, mend) for level, text, mend in found] == [
        ("FAIL", True, "free it, or set TILLPROOF_LISTEN to another")
    ]


def test_an_sqlite_that_can_damage_a_journal_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "sqlite_version", lambda: "3.51.2")
    assert [(level, "pysqlite3" in mend) for level, _, mend in named(examined(tmp_path), "SQLite")] == [("warn", True)]

    monkeypatch.setattr(surroundings, "sqlite_version", lambda: "3.51.3")
    assert [level for level, _, _ in named(examined(tmp_path), "SQLite")] == ["ok"]
