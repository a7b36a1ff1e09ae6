"""How properties are tested: time never decides, and a landing is decided by the same examples each time."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("slipway", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "slipway")
