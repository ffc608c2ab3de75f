"""Codex's times, which are cut off at milliseconds."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from texts import VALUES

from dev_sessions.backends.codex import rollout


def time_of(stamp: object) -> float:
    line = rollout.parse(json.dumps({"timestamp": stamp, "payload": {}}).encode())
    assert line is not None
    return line.at


@given(st.datetimes(datetime(1970, 1, 1), datetime(2400, 12, 31), timezones=st.just(UTC)))
@example(datetime(2000, 2, 29, 23, 59, 59, 999000, UTC))
def test_a_time_is_never_too_early(moment: datetime) -> None:
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    assert time_of(stamp) == pytest.approx(moment.timestamp(), abs=0.0011)
    assert time_of(stamp) >= moment.timestamp() - 1e-4


@given(st.sampled_from(VALUES) | st.text(max_size=30))
def test_a_line_without_a_time_is_long_ago(value: object) -> None:
    assert time_of(value) == 0.0
