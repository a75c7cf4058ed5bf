"""When is a failed job due again?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_linkback.config import OutboxSettings
from flask_linkback.outbox.retry import LONGEST_WAIT, next_due, parse_retry_after

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEDULE = OutboxSettings().retry_schedule


def wait(attempts: int, **options: object) -> float:
    due = next_due(NOW, attempts, SCHEDULE, **options)  # type: ignore[arg-type]
    assert due is not None
    return (due - NOW).total_seconds()


def test_the_schedule_has_eight_attempts_over_27_6_hours() -> None:
    waits = [wait(attempts, chance=lambda: 0.0) for attempts in range(8)]
    assert waits == [0, 5, 300, 1800, 7200, 18000, 36000, 36000]
    assert round(sum(waits) / 3600, 1) == 27.6
    assert next_due(NOW, 8, SCHEDULE) is None
    assert next_due(NOW, 9, SCHEDULE) is None


def test_jitter_lengthens_by_at_most_a_fifth() -> None:
    for attempts, seconds in enumerate(SCHEDULE):
        assert wait(attempts, chance=lambda: 1.0) == pytest.approx(1.2 * seconds)
        tried = [wait(attempts) for _ in range(200)]
        assert all(seconds <= each <= 1.2 * seconds for each in tried)
        assert seconds == 0 or len(set(tried)) > 100


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90.0),
        ("Sunday, 01-Mar-26 12:01:30 GMT", 90.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2026 12:00:10 -0000", 10.0),
        ("315360000", 315_360_000.0),
        ("9" * 6000, float("inf")),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Sun, 99 Foo 2026", None),
        ("Sun, 01 Mar 2026 12:01:30 +9999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


@given(st.text())
def test_rubbish_in_retry_after_never_raises(text: str) -> None:
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        (10.0, 10.0, 10.0),  # longer than the schedule's 5 s
        (0.0, 5.0, 6.0),  # shortens nothing
        (-3.0, 5.0, 6.0),
        (10 * 365 * 86_400.0, LONGEST_WAIT, LONGEST_WAIT),
        (float("inf"), LONGEST_WAIT, LONGEST_WAIT),
        (None, 5.0, 6.0),
    ],
)
def test_retry_after_lengthens_within_a_day(retry_after: float | None, least: float, most: float) -> None:
    assert least <= wait(1, retry_after=retry_after) <= most


def test_retry_after_is_a_second_at_least() -> None:
    due = next_due(NOW, 1, (0, 0), retry_after=0.0)
    assert due == NOW + timedelta(seconds=1)


def test_an_overloaded_server_gets_a_minute() -> None:
    assert 60 <= wait(1, overloaded=True) <= 72
    assert 300 <= wait(2, overloaded=True) <= 360
    assert wait(1, overloaded=True, retry_after=600.0) == 600
