"""Slipway: models on Kubernetes."""
