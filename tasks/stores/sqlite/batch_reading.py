"""Reads the next batch of a chunk: whole, or its plain facts only counted (tally) or derived where they are (stage)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tasks.core.errors import RowRefusedError
from tasks.core.fact_keys import Key, decoded
from tasks.core.values import Reject
from tasks.derivation.rules import Rules
from tasks.stores.protocols.counts import PlainCounts, SetAside
from tasks.stores.protocols.facts import BatchRead
from tasks.stores.sqlite.fact_counts import FactCounts
from tasks.stores.sqlite.key_parameters import decode_row, range_bounds


class BatchReading(FactCounts):
    """Reads batches. See the protocol for what each method promises."""

    _read_at: list[Any] | None = None  # the data_version of the batch that is to be written
    _fitting: int | None = None  # so many facts went into the last batch, if it was cut short

    def read_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        with self.snapshot():
            self._read_at = self._run("data_version")
            facts, rejects, last = self._read_facts(after, through, limit)
            exhausted = last is None
            if exhausted:
                last = through
            eligible, set_aside = self._count_range(after, last, with_set_aside=with_set_aside)
        return BatchRead(facts, last, eligible, exhausted, set_aside, rejects=rejects)

    def tally_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        first, bounds = range_bounds(after, through)
        limit = self._likely_to_fit(limit)
        with self.snapshot():
            tally = self._readable(f"tally_batch{first}", limit=limit, **bounds)
            batch = self._of_tally(tally, after, through, limit, with_set_aside=with_set_aside)
        return batch or self.read_batch(after=after, through=through, limit=limit, with_set_aside=with_set_aside)

    def stage_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool, rules: Rules) -> BatchRead:
        first, bounds = range_bounds(after, through)
        values = {"default_extracted_at": rules.default_extracted_at, "confidence_width": rules.confidence_width}
        limit = self._likely_to_fit(limit)
        with self.snapshot():
            self._read_at = self._run("data_version")
            self._run("clear_staging")
            tally = None
            with suppress(RowRefusedError):
                self._run(f"stage_batch{first}", limit=limit, **values, **bounds)
                tally = self._readable("look_at_staging")
            batch = self._of_tally(tally, after, through, limit, with_set_aside=with_set_aside)
            if batch is None:
                self._run("clear_staging")
            elif batch.facts:
                self._run("drop_odd_rows")
        return batch or self.read_batch(after=after, through=through, limit=limit, with_set_aside=with_set_aside)

    # -- reading ----------------------------------------------------------------------------------------

    def _read_facts(self, after: Key, through: Key, limit: int) -> tuple[list[Any], list[Reject], Key]:
        """At most `limit` residual facts of a range, those that cannot be read, and the last key; None at the end."""
        facts, rejects = list[Any](), list[Reject]()
        position = after
        while True:
            rows, is_whole, error = self._read_some(position, through, limit - len(facts) - len(rejects))
            facts += rows
            position = rows[-1][0] if rows else position
            if error is not None:
                position, reject = self._unreadable_fact(position, error)
                rejects.append(reject)
            is_full = len(facts) + len(rejects) >= limit
            if error is None or is_full:
                self._fitting = None if is_whole or error else len(facts)
                return facts, rejects, None if is_whole and not is_full else position

    def _read_some(self, after: Key, through: Key, limit: int) -> tuple[list[Any], bool, RowRefusedError | None]:
        """Facts up to the first that cannot be read; see `_run_while_readable`."""
        first, bounds = range_bounds(after, through)
        try:
            return self._run_while_readable(f"read_batch{first}", limit=limit, **bounds)
        except UnicodeDecodeError:
            raw, is_whole, error = self._run_while_readable(f"read_batch{first}_raw", limit=limit, **bounds)
            return [decode_row(row) for row in raw], is_whole, error

    def _count_range(self, after: Key, through: Key, *, with_set_aside: bool) -> tuple[int, SetAside]:
        """The facts of `(after, through]`, residual or not, and those set aside where they go with it."""
        set_aside = self.count_set_aside() if with_set_aside and after is None else SetAside()
        return self.count_range(after=after, through=through), set_aside

    # -- tallying ---------------------------------------------------------------------------------------

    def _likely_to_fit(self, limit: int) -> int:
        """How many facts to try: where values are long, not many more than there was room for the last time."""
        if self._fitting is None or 2 * self._fitting >= limit:
            return limit
        self._fitting *= 2
        return self._fitting

    def _readable(self, name: str, **parameters: Any) -> Any:
        """The one row of a statement; None if a text of it is not UTF-8, or something of it cannot be read at all."""
        try:
            return self._run(name, **parameters)[0]
        except (UnicodeDecodeError, RowRefusedError):
            return None

    def _of_tally(self, tally: Any, after: Key, through: Key, most: int, *, with_set_aside: bool) -> BatchRead | None:
        """The batch of at most `most` facts that was tallied, with those of its facts that are not plain.

        None if it has to be read instead: there is no tally, or its last key is too long for it, or not as many facts
        are odd as it leaves over, or they are too large to be held together.
        """
        if tally is None:
            return None
        residual, is_text, last, plain, updated, timeless, *_ = tally
        exhausted = residual < most
        last = through if exhausted else decoded(is_text, last)
        if last is None and not exhausted:
            return None
        first, of_range = range_bounds(after, last)
        odd, is_whole, _ = (
            self._run_while_readable(f"read_odd_facts{first}", **of_range) if plain < residual else ([], True, None)
        )
        if not is_whole or len(odd) != residual - plain:
            return None
        eligible, set_aside = self._count_range(after, last, with_set_aside=with_set_aside)
        counts = PlainCounts(int(plain - updated), int(updated), int(timeless))
        return BatchRead([decode_row(row) for row in odd], last, eligible, exhausted, set_aside, counts)
