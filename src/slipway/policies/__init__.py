"""Decisions, one a module: pure functions of what is wanted and what is there. No I/O, no clock."""
