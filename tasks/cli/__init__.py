"""The console script `provenance`, one file a group of commands."""
