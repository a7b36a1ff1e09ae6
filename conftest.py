"""How properties are tested: time never decides, and a landing is decided by the same examples each time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("slipway", untimed)
settings.register_profile("ci", untimed, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "slipway")
