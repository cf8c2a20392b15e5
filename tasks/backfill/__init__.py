"""The backfill itself: what is planned, one chunk of it live or rehearsed, and the evidence it asks for."""
