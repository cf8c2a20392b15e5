"""Waiting out what passes by itself: a lock, a full disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tasks.core.errors import DiskFullError, LockedError

logger = logging.getLogger("luigi-interface")

ATTEMPTS = 3
PAUSE = 5  # seconds


def patiently(attempt_once: Callable[[], None]) -> None:
    """Do it up to ATTEMPTS times, as long as nothing but a lock or a full disk stands in the way."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return attempt_once()
        except (LockedError, DiskFullError) as error:
            if attempt == ATTEMPTS:
                raise
            told = error.without_advice()
            logger.warning("%s Trying again in %d s (attempt %d of %d).", told, PAUSE, attempt + 1, ATTEMPTS)
            time.sleep(PAUSE)
    return None
