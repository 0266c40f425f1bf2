"""Ionbeam: observations in, canonical time windows out that stay correct when data is late.

Importing this package does no work; the rooms are described in ``ARCHITECTURE.md``.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
