"""The entry of the command `slipway`."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Runs the command line; returns its exit code (see `slipway.cli.errors`)."""
    if sys.argv[1:] == ["--version"]:
        from slipway.cli.version import version  # noqa: PLC0415  # the answer must not wait for the other imports

        print(f"slipway {version()}")  # noqa: T201  # the answer
        return 0
    gc.disable()  # imports make much that stays: looking through it takes a twentieth of a short command's time
    from slipway.cli.app import run  # noqa: PLC0415  # as above

    return run(sys.argv[1:])
