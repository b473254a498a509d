"""Durations, sizes and times as a person writes them, and as nats-server takes them.

The server wants nanoseconds, bytes and RFC 3339. Here one may write ``"1h30m"``, ``"64MiB"`` or a datetime.
What cannot be meant raises ``ValueError`` with the forms that can.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

MOST_NS = 2**63 - 1
DURATION_FORMS = 'a timedelta, seconds as a number, or a text such as "250ms", "2m" or "1h30m"'
SIZE_FORMS = 'bytes as a whole number, or a text such as "512KiB" or "2GB"'
TIME_FORMS = 'a datetime with its time zone, or a text such as "2030-01-31T12:00:00Z"'

_UNITS_NS = {
    "w": 604_800 * 10**9,
    "d": 86_400 * 10**9,
    "h": 3_600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ns": 1,
}
_PART = r"(\d{1,20}(?:\.\d{1,20})?)\s*(ns|us|µs|μs|ms|w|d|h|m|s)"
_DURATION = re.compile(rf"(?:{_PART}\s*)+", re.ASCII)
_UNITS_BYTES = {
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}
_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)\s*([a-z]+)", re.ASCII)


def duration_ns(value: object) -> int:
    """Return a duration in nanoseconds.

    Parameters
    ----------
    value: A timedelta, a number of seconds, or a text of numbers with the units w, d, h, m, s, ms, us, ns.

    >>> duration_ns("1h30m"), duration_ns(0.25), duration_ns(timedelta(minutes=2))
    (5400000000000, 250000000, 120000000000)
    """
    found: int | None = None
    if isinstance(value, timedelta):
        found = (value.days * 86_400 + value.seconds) * 10**9 + value.microseconds * 1000
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        found = round(Fraction(str(value)) * 10**9)
    elif isinstance(value, str) and _DURATION.fullmatch(text := value.strip()):
        exact = sum(Fraction(number) * _UNITS_NS[unit] for number, unit in re.findall(_PART, text))
        found = round(exact)
    elif isinstance(value, str) and value.strip() == "0":
        found = 0
    if found is None or not 0 <= found <= MOST_NS:
        raise ValueError(DURATION_FORMS)
    return found


def duration_text(ns: int) -> str:
    """Return a duration as :func:`duration_ns` reads it.

    >>> duration_text(5_400_000_000_000), duration_text(250_000_000), duration_text(0)
    ('1h30m', '250ms', '0s')
    """
    if ns == 0:
        return "0s"
    parts, left = [], ns
    for unit in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, left = divmod(left, _UNITS_NS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def timedelta_of(ns: int) -> timedelta:
    """A duration as Python has it; below a microsecond it is rounded."""
    return timedelta(microseconds=round(ns / 1000))


def size_bytes(value: object) -> int:
    """Return a size in bytes.

    Parameters
    ----------
    value: Bytes, or a text with the unit B, kB, MB, GB, TB (thousands) or KiB, MiB, GiB, TiB (1,024).

    >>> size_bytes("1.5KiB"), size_bytes("2 GB"), size_bytes(100)
    (1536, 2000000000, 100)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value <= MOST_NS:
            return value
    elif isinstance(value, str) and (found := _SIZE.fullmatch(value.strip().lower())):
        exact = Fraction(found[1]) * _UNITS_BYTES.get(found[2], 0)
        if exact.denominator == 1 and 0 < exact <= MOST_NS:
            return int(exact)
    raise ValueError(SIZE_FORMS)


def time_text(value: object) -> str:
    """Return a moment in RFC 3339 and UTC.

    >>> time_text("2030-01-31T12:00:00+02:00")
    '2030-01-31T10:00:00Z'
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(TIME_FORMS) from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(TIME_FORMS)
    try:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ValueError(TIME_FORMS) from None


def time_of(text: object) -> datetime | None:
    """A moment as the server writes it; None for none, which it writes as the year 1.

    >>> time_of("2030-01-31T10:00:00.123456789Z")
    datetime.datetime(2030, 1, 31, 10, 0, 0, 123456, tzinfo=datetime.timezone.utc)
    """
    if not isinstance(text, str) or text.startswith("0001-01-01T00:00:00"):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)
