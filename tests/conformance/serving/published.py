"""The results that serving/README.md shows: kept in results.json, a run for each server.

    slipway-serve conformance URL --grpc HOST:PORT --unload -o json >run.json
    python tests/conformance/serving/published.py NAME VERSION run.json

The second command puts a run into results.json in place of that server's last one, and the table into the README.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE.parents[2] / "serving" / "README.md"
BEGIN, END = "<!-- conformance: begin -->\n", "<!-- conformance: end -->\n"
LEVELS = ("required", "extension", "robust")

Runs = list[dict[str, Any]]


def read() -> Runs:
    runs: Runs = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]
    return runs


def add(name: str, version: str, run: dict[str, Any], day: str) -> None:
    """Puts a run in place of the server's last one."""
    checks = {check["id"]: _kept(check) for check in run["checks"]}
    made = {"server": name, "version": version, "suite": run["suite"], "date": day, "checks": checks}
    runs = [made if each["server"] == name else each for each in read()] if RESULTS.exists() else []
    if made not in runs:
        runs.append(made)
    RESULTS.write_text(json.dumps({"runs": runs}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _kept(check: dict[str, str]) -> dict[str, str]:
    """A check's level and result, and where it failed what was seen; of a traceback not the machine's paths."""
    kept = {"level": check["level"], "result": check["result"]}
    if check["result"] == "fail":
        before, traceback, _ = check["seen"].partition("Traceback (most recent call last)")
        kept["seen"] = f"{before}{traceback and 'a traceback'}"
    return kept


def table(runs: Runs) -> str:
    """Of each level and group: how many checks pass, of those that the server says it offers."""
    heads = [f"{run['server']} {run['version']}" for run in runs]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(runs)}"]
    groups = list(dict.fromkeys((_group(name), each["level"]) for run in runs for name, each in run["checks"].items()))
    for level in LEVELS:
        cells = [f"**{_cell(run, level)}**" for run in runs]
        lines.append(f"| **{level}** | {' | '.join(cells)} |")
        for group in (name for name, of in groups if of == level):
            lines.append(f"| {group} | {' | '.join(_cell(run, level, group) for run in runs)} |")
    return "\n".join(lines) + "\n"


def _cell(run: dict[str, Any], level: str, group: str = "") -> str:
    outcomes = [
        each["result"] for name, each in run["checks"].items() if each["level"] == level and group in ("", _group(name))
    ]
    judged = outcomes.count("pass") + outcomes.count("fail")
    return f"{outcomes.count('pass')} of {judged}" if judged else "not supported" if outcomes else "not run"


def _group(name: str) -> str:
    return name.partition(".")[0]


def section(runs: Runs) -> str:
    """What stands between the marks in the README."""
    runs_on = ", ".join(sorted({run["date"] for run in runs}))
    return f"{BEGIN}{table(runs)}\nMeasured {runs_on}; each check with what was seen: `{RESULTS.name}`.\n{END}"


def main(name: str, version: str, path: str) -> None:
    run = json.loads(Path(path).read_text(encoding="utf-8"))
    add(name, version, run, datetime.now(tz=UTC).date().isoformat())
    text = README.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    README.write_text(before + section(read()) + after, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
