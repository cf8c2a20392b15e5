"""The log that grows: sealing, its files, its history, the standing and the rotation of keys."""
