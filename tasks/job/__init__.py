"""The job file: its settings, its paths, and the signers that it configures."""
