"""Moments as text: UTC, milliseconds, Z, whatever the machine's time zone is; and a clock that waits can trust."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from freezegun import freeze_time

from tests.builders import FixedClock
from workflow.clock import SystemClock, from_text, is_moment, to_text

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-03-14T12:00:00.000Z"),
        (NOON.replace(microsecond=120_000), "2026-03-14T12:00:00.120Z"),
        (NOON.replace(microsecond=999), "2026-03-14T12:00:00.000Z"),
        (NOON.replace(microsecond=7_000), "2026-03-14T12:00:00.007Z"),
        (NOON.replace(second=59, microsecond=999_999), "2026-03-14T12:00:59.999Z"),
        (NOON.replace(month=2, day=28, year=2028) + timedelta(days=1), "2028-02-29T12:00:00.000Z"),
        (datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC), "2038-01-19T03:14:08.000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_moment_is_written_in_utc_with_milliseconds_that_are_cut(moment, text):  # T4
    assert to_text(moment) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0, "2026-03-14T12:00:00.000Z"),
        (5.75, "2026-03-14T06:15:00.000Z"),
        (-8, "2026-03-14T20:00:00.000Z"),
        (14, "2026-03-13T22:00:00.000Z"),
    ],
)
def test_a_moment_of_another_zone_is_written_as_the_same_moment_in_utc(hours, text):
    assert to_text(NOON.replace(tzinfo=timezone(timedelta(hours=hours)))) == text


@pytest.mark.parametrize("moment", [NOON, NOON.replace(microsecond=120_000), datetime(1970, 1, 1, tzinfo=UTC)])
def test_what_was_written_is_read_back_as_the_same_aware_moment(moment):
    back = from_text(to_text(moment))
    assert (back, is_moment(to_text(moment))) == (moment, True)
    assert back.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-14",
        "2026-03-14T12:00:00Z",
        "2026-03-14T12:00:00.000",
        "2026-03-14T12:00:00.000+00:00",
        "2026-03-14T12:00:00.1Z",
        "2026-03-14T12:00:00.123456Z",
        "2026-3-14T12:00:00.000Z",
        "2026-03-14t12:00:00.000z",
        "2026-03-14T24:00:00.000Z",
        "2026-02-29T12:00:00.000Z",
        " 2026-03-14T12:00:00.000Z",
        "2026-03-14T12:00:00.000Z\n",
    ],
)
def test_any_other_form_is_refused(text):
    assert (is_read(text), is_moment(text)) == (False, False)


def is_read(text):
    try:
        from_text(text)
    except ValueError:
        return False
    return True


def test_texts_sort_as_their_moments_do():
    moments = [NOON + timedelta(milliseconds=step) for step in (0, 1, 10, 999, 1000, 60_000, 86_400_000, 10**10, 10**12)]
    texts = [to_text(moment) for moment in moments]
    assert texts == sorted(texts)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    "zone", ["Asia/Kathmandu", "Europe/London", "America/New_York", None], ids=["kathmandu", "london", "new york", "unset"]
)
def test_the_zone_of_the_machine_changes_no_text(monkeypatch, zone):  # T3
    summer_time_begins = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    try:
        if zone:
            monkeypatch.setenv("TZ", zone)
        else:
            monkeypatch.delenv("TZ", raising=False)
        time.tzset()
        assert to_text(summer_time_begins) == "2026-03-29T01:30:00.000Z"
        assert from_text("2026-03-29T01:30:00.000Z") == summer_time_begins
        assert SystemClock().now().utcoffset() == timedelta(0)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_machines_clock_tells_the_present_moment_in_utc():
    before = time.time_ns() // 1_000  # A moment is cut to whole microseconds.
    now = SystemClock().now()
    after = time.time_ns() // 1_000
    assert before <= (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) <= after
    assert now.tzinfo is UTC


def test_seconds_for_waiting_never_go_back_even_when_the_wall_clock_does(monkeypatch):  # T1
    clock = SystemClock()
    first = clock.monotonic()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    readings = [clock.monotonic() for _ in range(1_000)]
    assert [first, *readings] == sorted([first, *readings])


def test_a_test_moves_both_readings_of_its_clock_together():
    clock = FixedClock()
    before, seconds = clock.now(), clock.monotonic()
    clock.move(90)
    assert clock.now() - before == timedelta(seconds=90)
    assert clock.monotonic() - seconds == 90


@pytest.mark.parametrize("zone", ["Europe/London", "Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize(
    "moment",
    [
        "2026-03-29T00:59:59.999Z",  # A second before London's clocks go forward, and the moment they have.
        "2026-03-29T01:00:00.000Z",
        "2026-10-25T00:30:00.000Z",  # The hour that London has twice.
        "2026-10-25T01:30:00.000Z",
        "2028-02-29T23:59:59.999Z",
        "2038-01-19T03:14:08.000Z",
    ],
)
def test_the_systems_clock_tells_utc_whatever_the_machines_zone_and_its_summer_time(zone, moment, monkeypatch):  # T3 T4
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    with freeze_time(moment):
        assert to_text(SystemClock().now()) == moment
    monkeypatch.undo()
    time.tzset()
