import pytest

from workflow.errors import (
    AnswerRedirects,
    AnswerUnreadable,
    CallRefused,
    DojoRefusesUs,
    IntentNotFound,
    JournalUnavailable,
    KeyReused,
    OutcomeUnknown,
    Refused,
    TransitionRefused,
    TryAgain,
    UnknownOrder,
)
from workflow.retries import (
    HORIZON_ATTEMPTS,
    RETRY_AFTER_CAP_S,
    RETRY_CAP_MS,
    Pace,
    Sign,
    Verdict,
    backoff_ms,
    judge,
    next_attempt_at,
    sign_of,
)

NOW_MS = 1_770_000_000_000
DAY_MS = 86_400_000


def highest() -> float:
    return 1.0


def lowest() -> float:
    return 0.0


def half() -> float:
    return 0.5


@pytest.mark.parametrize(
    ("attempt", "random", "expected"),
    [
        (1, highest, 500),
        (1, half, 250),
        (1, lowest, 0),
        (2, highest, 1_000),
        (3, highest, 2_000),
        (11, highest, 512_000),
        (12, highest, RETRY_CAP_MS),
        (13, half, RETRY_CAP_MS // 2),
        (1_000_000_000, highest, RETRY_CAP_MS),
        (10**400, half, RETRY_CAP_MS // 2),
    ],
)
def test_the_wait_doubles_up_to_the_cap_and_is_drawn_from_the_whole_of_it(attempt, random, expected):  # U1
    assert backoff_ms(attempt, 500, RETRY_CAP_MS, random) == expected


def test_a_base_above_the_cap_waits_the_cap():
    assert backoff_ms(1, 5_000, 1_000, highest) == 1_000


def test_a_cap_of_nothing_waits_nothing():
    assert backoff_ms(40, 500, 0, highest) == 0


@pytest.mark.parametrize("attempt", range(1, 40))
def test_no_wait_is_longer_than_the_next_one_may_be(attempt):
    assert backoff_ms(attempt, 500, RETRY_CAP_MS, highest) <= backoff_ms(attempt + 1, 500, RETRY_CAP_MS, highest) <= RETRY_CAP_MS


@pytest.mark.parametrize(
    ("error", "effect", "expected"),
    [
        (OutcomeUnknown("500"), "read_intent", Verdict.AGAIN),  # U1
        (OutcomeUnknown("500"), "order_updated", Verdict.AGAIN),
        (TryAgain("429", after_seconds=5), "order_updated", Verdict.AGAIN),  # U2
        (TryAgain("connection refused"), "tell_till", Verdict.AGAIN),  # U8
        (JournalUnavailable("disk full"), "read_intent", Verdict.AGAIN),
        (DojoRefusesUs("401"), "read_intent", Verdict.STOP),  # U4
        (DojoRefusesUs("403"), "order_updated", Verdict.STOP),
        (Refused("400"), "order_updated", Verdict.DEAD),  # U5
        (Refused("409"), "order_updated", Verdict.DEAD),  # U7
        (Refused("400"), "read_intent", Verdict.DEAD),
        (TransitionRefused("no"), "read_intent", Verdict.DEAD),
        (KeyReused("no"), "tell_till", Verdict.DEAD),
        (UnknownOrder("no"), "tell_till", Verdict.DEAD),
        (IntentNotFound("404"), "read_intent", Verdict.AGAIN),  # U6
        (IntentNotFound("404"), "order_updated", Verdict.DEAD),
    ],
)
def test_every_kind_of_answer_has_one_verdict(error, effect, expected):
    assert judge(error, effect) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutcomeUnknown("503"), Sign.AWAY),
        (TryAgain("connection refused"), Sign.AWAY),
        (AnswerUnreadable("200, unreadable"), Sign.GARBAGE),
        (AnswerRedirects("302"), Sign.REDIRECT),
        (CallRefused("400", status=400), Sign.REFUSED),
        (IntentNotFound("404"), Sign.UNKNOWN),
        (UnknownOrder("no"), Sign.ALONE),
    ],
)
def test_every_failure_says_one_thing_of_its_destination(error, expected):
    assert sign_of(error) is expected


def at(random=highest, *, attempt=1, after_seconds=None, age_ms=0, pace=Pace()):  # noqa: B008 - frozen
    due = next_attempt_at(
        now_ms=NOW_MS, created_at_ms=NOW_MS - age_ms, attempt=attempt, after_seconds=after_seconds, pace=pace, random=random
    )
    return None if due is None else due - NOW_MS


@pytest.mark.parametrize(
    ("after_seconds", "random", "attempt", "expected"),
    [
        (None, half, 1, 250),
        (0.0, half, 1, 250),
        (5.0, lowest, 1, 5_000),
        (5.0, highest, 5, 8_000),
        (0.0001, lowest, 1, 1),
        (RETRY_AFTER_CAP_S, lowest, 1, 3_600_000),
        (RETRY_AFTER_CAP_S + 1, highest, 99, 3_600_000),
        (1e300, lowest, 1, 3_600_000),
        (float("inf"), lowest, 1, 3_600_000),
        (-5.0, half, 1, 250),
    ],
)
def test_the_server_s_wish_is_obeyed_up_to_an_hour(after_seconds, random, attempt, expected):  # U2
    assert at(random, attempt=attempt, after_seconds=after_seconds) == expected


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [(0, 500), (DAY_MS, 500), (3 * DAY_MS, 500), (3 * DAY_MS + 1, None), (300 * DAY_MS, None), (-DAY_MS, 500)],
)
def test_a_task_older_than_the_horizon_is_dead(age_ms, expected):  # U1 U17
    pace = Pace(cap_ms=500)
    assert at(age_ms=age_ms, attempt=HORIZON_ATTEMPTS, pace=pace) == expected
    assert at(age_ms=age_ms, attempt=HORIZON_ATTEMPTS - 1, pace=pace) == 500  # Age alone gives nothing up.


def test_the_pace_is_a_setting():
    assert at(attempt=3, pace=Pace(base_ms=10, cap_ms=1_000, horizon_s=60)) == 40
    assert at(age_ms=60_001, attempt=HORIZON_ATTEMPTS, pace=Pace(base_ms=10, cap_ms=1_000, horizon_s=60)) is None
