"""Every statement that is executed on SQLite, built from a binding and nothing else."""
