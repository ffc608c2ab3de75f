"""Times as Codex writes them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from texts import VALUES

from dev_sessions.backends.codex import rollout

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2400, 12, 31), timezones=st.just(UTC))


@given(MOMENTS)
@example(datetime(2000, 2, 29, 23, 59, 59, 999000, UTC))
@example(datetime(2100, 2, 28, tzinfo=UTC))
@example(datetime(2100, 3, 1, tzinfo=UTC))
@example(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
def test_it_is_the_moment_that_was_meant(moment: datetime) -> None:
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    assert rollout.seconds(stamp) == pytest.approx(moment.timestamp(), abs=0.0011)
    assert rollout.seconds(stamp) >= moment.timestamp() - 1e-4


def test_without_a_fraction_it_is_a_time_too() -> None:
    assert rollout.seconds("1970-01-02T00:00:10Z") == pytest.approx(86410.001)


@given(st.sampled_from(VALUES) | st.text(max_size=30))
@example("2026-11-23T00:45:43.393+01:00")
@example("2026-11-23")
@example("20261123T004543Z")
@example("2026-11-23T00:45:nanZ")
def test_what_is_no_time_is_long_ago(value: object) -> None:
    assert rollout.seconds(value) == 0.0
