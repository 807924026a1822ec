"""What doctor says of the till: where it is called, and what is not good about that."""

from __future__ import annotations

import pytest

from adapters.cli.doctor import examine
from tests.builders import FixedClock

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


@pytest.mark.parametrize("url", ["https://till.example.com/hook", "http://127.0.0.1:9000", "http://localhost:9000/hook"])
def test_doctor_says_what_is_called(tmp_path, url):
    assert findings(tmp_path, TILL_URL=url, TILL_SECRET=GOOD) == [("ok", f"called at {url}, and nowhere else")]


@pytest.mark.parametrize("url", ["http://192.168.1.20:9000/hook", "http://till.example.com"])
def test_plain_http_beyond_this_machine_is_a_warning_and_no_failure(tmp_path, url):
    (_, (level, text)) = findings(tmp_path, TILL_URL=url, TILL_SECRET=GOOD)
    assert (level, text.partition(":")[0]) == ("warn", "plain http beyond this machine")


def test_a_secret_that_can_be_guessed_is_a_warning(tmp_path):
    (_, (level, text)) = findings(tmp_path, TILL_URL="https://till.example.com", TILL_SECRET="till1234")
    assert (level, "till1234" in text) == ("warn", False)
