"""One package a kind: observe, decide, build children, apply, one status write, events."""
