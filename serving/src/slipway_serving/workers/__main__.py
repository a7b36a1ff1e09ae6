"""`python -m slipway_serving.workers SOCKET SERVER`: one worker; the server starts it, a person never does."""

from __future__ import annotations

from slipway_serving.collector import collect_rarely

if __name__ == "__main__":
    collect_rarely()
    from slipway_serving.workers.worker import main

    main()
