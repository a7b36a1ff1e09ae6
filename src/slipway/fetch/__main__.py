"""`python -m slipway.fetch`: the same as the command `slipway-fetch`."""

import sys

from slipway.fetch.main import main

sys.exit(main())
