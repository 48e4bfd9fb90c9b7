"""Tidegate: models reach users by evidence, and leave by themselves when they should not have."""

__version__ = "0.2.0"
