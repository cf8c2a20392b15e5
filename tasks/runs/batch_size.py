"""How many rows to try at once where the database itself may refuse one of them."""

from __future__ import annotations


class BatchSize:
    """How many facts to try at once: of those among which one is refused, the first half; else a batch, `most` facts.

    Behind a row that was found, batches begin small and double. So each one costs some 2 log2(`most`) transactions,
    most of them small.
    """

    def __init__(self, most: int) -> None:
        self.limit = self._most = most
        self._suspects = 0  # facts behind the cursor among which one is refused

    @property
    def is_narrow(self) -> bool:
        return self.limit < self._most or self._suspects > 0

    def refused(self, facts: int) -> None:
        """One of so many was refused, and nothing is written."""
        self._suspects, self.limit = facts, max(1, facts // 2)

    def found(self) -> None:
        """That one is known."""
        self._suspects = 0

    def written(self, facts: int) -> None:
        """So many are settled."""
        self._suspects = max(0, self._suspects - facts)
        self.limit = max(1, self._suspects // 2) if self._suspects else min(self._most, 2 * self.limit)
