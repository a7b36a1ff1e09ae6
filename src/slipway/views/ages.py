"""Times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def parse_time(text: str) -> datetime | None:
    """A timestamp of the API server, None where it is none."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def age(timestamp: str | None, now: datetime) -> str:
    """How long ago, in one unit, or two where one would be coarse: `45s`, `3m20s`, `12d`. Empty without a timestamp."""
    since = parse_time(timestamp or "")
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    for index, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            return f"{whole}{unit}{_second(rest, index, whole)}"
    return "0s"


def _second(rest: int, index: int, whole: int) -> str:
    """The next smaller unit, while the first says less than ten."""
    if whole >= 10 or index + 1 == len(_UNITS):  # noqa: PLR2004  # two digits say enough
        return ""
    size, unit = _UNITS[index + 1]
    return f"{rest // size}{unit}" if rest >= size else ""
