"""How one kind of database is read and written: the only place that builds or runs SQL."""
