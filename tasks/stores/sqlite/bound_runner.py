"""A runner of statements that knows which tables and columns the contract is bound to."""

from __future__ import annotations

from typing import Any

from tasks.contract.binding import Binding
from tasks.job.settings import Settings
from tasks.stores.sqlite.gate import Gated
from tasks.stores.sqlite.opening import StoreConnection
from tasks.stores.sqlite.runner import StatementRunner
from tasks.stores.sqlite.sql.bounds import value_parameters


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

    @property
    def binding(self) -> Binding:
        return self._gated.binding

    @property
    def fingerprint(self) -> str:
        return self._gated.fingerprint

    def gate_json(self) -> dict[str, Any]:
        return self._gated.as_json(self._settings)
