"""The results that the README shows."""

from __future__ import annotations

import published

from slipway_serving.conformance import suite


def test_the_table_in_the_readme_is_of_the_results():
    assert published.section(published.read()) in published.README.read_text(encoding="utf-8")


def test_the_results_are_of_the_checks_that_there_are():
    known = {check.id: check.level for check in suite.checks(grpc=True)}
    for run in published.read():
        found = {name: each["level"] for name, each in run["checks"].items()}
        assert found == known, f"run the suite against {run['server']} again, and published.py with its answer"


def test_the_results_tell_nothing_of_the_machine():
    text = published.RESULTS.read_text(encoding="utf-8")
    assert not [word for word in ("site-packages", "/tmp/", "/root/", "/home/") if word in text]  # noqa: S108
