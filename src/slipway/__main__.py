"""`python -m slipway`: the same as the command `slipway`."""

import sys

from slipway.cli.main import main

sys.exit(main())
