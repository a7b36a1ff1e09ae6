"""Prints what the conformance suite found: passed, and each failure by name. `python summary.py REPORT_DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def main() -> None:
    passed, failed = 0, []
    for report in Path(sys.argv[1]).glob("junit*.xml"):
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by the suite a moment ago
            if case.find("skipped") is not None or not case.get("name", "").startswith("[It]"):
                continue  # what prepares and cleans up the suite is no test of it
            if case.find("failure") is None and case.find("error") is None:
                passed += 1
            else:
                failed.append(case.get("name", ""))
    print(f"{passed} passed, {len(failed)} failed")
    for name in sorted(failed):
        print(f"  {name}")


if __name__ == "__main__":
    main()
