"""A database to try the job on."""
