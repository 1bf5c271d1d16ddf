"""UUIDv7 ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from outspool.adapters.uuid7 import least_id, new_id

times = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(at=times)
def test_an_id_is_a_uuid_of_version_7(at: datetime) -> None:
    made = new_id(at)
    assert made.version == 7
    assert made.int >> 80 == (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(at=times)
def test_ids_of_a_later_microsecond_are_greater(at: datetime) -> None:
    assert least_id(at) <= new_id(at) < least_id(at + timedelta(microseconds=1))
