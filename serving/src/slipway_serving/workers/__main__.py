"""`python -m slipway_serving.workers SOCKET SERVER`: one worker; the server starts it, a person never does."""

from __future__ import annotations

from slipway_serving.workers.worker import main

if __name__ == "__main__":
    main()
