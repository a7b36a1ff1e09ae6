"""The Python client of the platform: what the command line does, for programs."""
