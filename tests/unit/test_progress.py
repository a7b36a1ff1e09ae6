"""Progress in a log: seen to go on, and not drowned."""

import io

from slipway.progress import LineProgress


def test_a_long_step_shows_a_detail_each_half_minute():
    now = 0.0
    stream = io.StringIO()
    with LineProgress(stream, lambda: now).step("Building") as step:
        for count in range(100):
            now = float(count)
            step.detail(f"{count} packages")
    assert stream.getvalue().splitlines() == [
        "  Building …",
        "    … 30 packages",
        "    … 60 packages",
        "    … 90 packages",
        "  Building: 99.0 s",
    ]


def test_a_short_step_shows_none():
    stream = io.StringIO()
    with LineProgress(stream, lambda: 0.0).step("Sending") as step:
        step.detail("half of it")
    assert stream.getvalue() == "  Sending …\n  Sending: 0.0 s\n"
