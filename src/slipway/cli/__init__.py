"""The command `slipway`: one module a command, imported when it is called. Logic lives in `slipway.client`."""
