"""Signing and hashing many at once, in C where there is a compiled core, and never another result without."""
