"""What runs a model: one module a format, imported only when a model of that format is loaded."""
