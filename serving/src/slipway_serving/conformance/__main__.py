"""`python -m slipway_serving.conformance` is `slipway-serve conformance`."""

from __future__ import annotations

import sys

from slipway_serving.conformance.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
