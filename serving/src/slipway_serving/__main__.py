"""`python -m slipway_serving` is `slipway-serve`."""

from __future__ import annotations

from slipway_serving.main import main

if __name__ == "__main__":
    main()
