"""Small stores with a sealed log."""

from support.sealed_fixtures import agree, keys, sealed, store

__all__ = ["agree", "keys", "sealed", "store"]
