"""`python -m slipway_serving.sample DIRECTORY`: the example model, put where a server looks for one.

A directory that holds something else is left as it is. Each file appears whole, the model last: a server that starts
meanwhile finds either no model or all of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

EXAMPLE: Final = Path(__file__).parent / "example"
FILES: Final = ("model.yaml", "model.py")
_NOTHING: Final = {"lost+found"}
"""What a file system makes of its own accord."""
_UNFINISHED: Final = ".new"


def place(directory: Path) -> bool:
    """Writes the files that are missing; False where the directory holds something else. Raises OSError."""
    ours = {*FILES, *(name + _UNFINISHED for name in FILES)}
    if {entry.name for entry in directory.iterdir()} - ours - _NOTHING:
        return False
    for name in FILES:
        target = directory / name
        if not target.exists():
            unfinished = directory / (name + _UNFINISHED)
            unfinished.write_bytes((EXAMPLE / name).read_bytes())
            unfinished.replace(target)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m slipway_serving.sample", description="Places the example model.")
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="where a server looks for its model")
    directory = parser.parse_args(arguments).directory
    try:
        placed = place(directory)
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error)
        sys.stderr.write(
            f"The example model cannot be written to {directory}: {said}. "
            f"It has to be there, and user {os.getuid()} needs the right to write to it.\n"
        )
        return 1
    sys.stdout.write(
        f"The example model is in {directory}.\n" if placed else f"{directory} holds a model of yours: left as it is.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
