"""The programs of Slipway's local cluster, in `bin/` beside this file. Slipway finds them by itself."""
