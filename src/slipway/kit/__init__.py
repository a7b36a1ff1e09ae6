"""The controller toolkit: what a controller needs between the API server and its own decisions."""
