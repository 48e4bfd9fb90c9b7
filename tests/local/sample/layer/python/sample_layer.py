"""Proves that a layer is on a function's path."""

GREETING = "from the layer"
