"""Databases: what the rooms below need of any of them (protocols), and how each kind does it."""
