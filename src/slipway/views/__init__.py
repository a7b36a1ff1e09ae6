"""What people see, computed from objects alone: one source for commands, Python client and the operator's status."""
