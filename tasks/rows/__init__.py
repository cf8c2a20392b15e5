"""Rows that are there already: verified, explained, and signed where they are pending."""
