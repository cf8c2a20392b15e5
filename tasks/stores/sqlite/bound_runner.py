"""A runner of statements that knows which tables and columns the contract is bound to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tasks.contract.binding import Binding
from tasks.core.errors import StateError
from tasks.job.settings import Settings
from tasks.stores.sqlite.gate import Gated
from tasks.stores.sqlite.opening import StoreConnection
from tasks.stores.sqlite.runner import StatementRunner
from tasks.stores.sqlite.sql.bounds import value_parameters

_T = TypeVar("_T")


class BoundRunner(StatementRunner):
    """The statements of a run, on a connection that has passed the gate."""

    def __init__(self, connection: StoreConnection, settings: Settings, gated: Gated) -> None:
        super().__init__(
            connection,
            settings,
            sql={c.statement.name: c.statement.sql for c in gated.compiled},
            schema_version=gated.schema_version,
            values=value_parameters(settings.derivation),
        )
        self._gated = gated

    def _of_ledger(self, name: str, build: Callable[[Any], _T], *, run_id: str, **parameters: Any) -> list[_T]:
        """The rows of a statement, built. Raises StateError if one of them is none that the job has written."""
        try:
            return [build(row) for row in self._run(name, run_id=run_id, **parameters)]
        except ValueError as error:  # not UTF-8, or not what belongs there
            raise StateError(
                f"its ledger has a row that this job has not written ({name}): {error}",
                where=f"run {run_id}",
                hint="Nobody but this job may write to its ledger: use a new --run-id, and find out who did",
                written="What this run has written is committed and stays",
            ) from None

    @property
    def binding(self) -> Binding:
        return self._gated.binding

    @property
    def fingerprint(self) -> str:
        return self._gated.fingerprint

    def gate_json(self) -> dict[str, Any]:
        return self._gated.as_json(self._settings)
