"""Manifests of ours, judged by linters that others wrote."""
