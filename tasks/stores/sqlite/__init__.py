"""SQLite: the only place that imports its library, opens its files and executes SQL."""
