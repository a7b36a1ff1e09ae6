"""For tests of controllers: an API server in memory, and time that passes at once."""

from slipway.kit.testing.clock import VirtualTimeLoop, virtual_time
from slipway.kit.testing.server import ApiServer, Call

__all__ = ["ApiServer", "Call", "VirtualTimeLoop", "virtual_time"]
