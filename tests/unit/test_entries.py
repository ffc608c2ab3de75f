"""The functions that the readers of the agents' logs share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from texts import VALUES

from dev_sessions.backends import entries

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2400, 12, 31), timezones=st.just(UTC))


@given(MOMENTS)
@example(datetime(2000, 2, 29, 23, 59, 59, 999000, UTC))
@example(datetime(2100, 2, 28, tzinfo=UTC))
@example(datetime(2100, 3, 1, tzinfo=UTC))
@example(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
def test_a_stamp_is_read_as_its_moment(moment: datetime) -> None:
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
    assert entries.seconds(stamp) == pytest.approx(moment.timestamp(), abs=2e-6)


def test_a_stamp_may_have_no_fraction() -> None:
    assert entries.seconds("1970-01-02T00:00:10Z") == 86410.0


@given(st.sampled_from(VALUES) | st.text(max_size=30))
@example("2026-11-23T00:45:43.393+01:00")
@example("2026-11-22 21:37:32.217 or so")
@example("2026-13-41T00:00:00.000Z")
@example("2026-11-23")
@example("20261123T004543Z")
@example("2026-11-23T00:45:nanZ")
def test_anything_else_has_the_time_0(value: object) -> None:
    assert entries.seconds(value) == 0.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("data:image/png;base64," + "A" * 4000, "data:image/png;base64,(3000 bytes)"),
        ("data: {}, and more", "data: {}, and more"),
        ('data: {"url": "data:image/png;base64,AAAA"}', 'data: {"url": "data:image/png;base64,AAAA"}'),
        ([{"type": "base64", "data": "A" * 8}], [{"type": "base64", "data": None, "bytes": 6}]),
        ({"a": [1, None, {"type": "base64", "data": 5}]}, {"a": [1, None, {"type": "base64", "data": 5}]}),
    ],
)
def test_bytes_are_counted_and_nothing_else_is_changed(value: Any, shown: Any) -> None:
    assert entries.without_bytes(value) == shown


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"path": "/a"}, "/a"),
        ({"n": 3}, "3"),
        ({"path": "/ä", "text": "x\ny", "n": [3]}, "path: /ä\ntext: x\ny\nn: [3]"),
        ({}, ""),
    ],
)
def test_a_tools_input_is_shown_by_its_fields(fields: dict[str, Any], shown: str) -> None:
    assert entries.as_lines(fields) == shown


def test_a_result_has_the_name_of_its_call() -> None:
    maker = entries.EntryMaker()
    maker.turn, maker.at = "p", 5.0
    call = maker.call("c", "Bash", {"command": "ls"}, "ls")
    returned, again = (maker.result("c", "a", "a", failed=False, images=0) for _ in range(2))
    assert (call.kind, call.tool, call.call, call.prompt, call.at) == ("call", "Bash", "c", "p", 5.0)
    assert (returned.kind, returned.tool, returned.call, returned.result) == ("result", "Bash", "c", "a")
    assert again.tool is None
