"""A SQLite file as a store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tasks.job.settings import Settings
from tasks.stores.protocols.attestations import Provenance
from tasks.stores.protocols.sealed_log import Purpose
from tasks.stores.protocols.store import Applied
from tasks.stores.sqlite.apply import apply_schema, is_applied
from tasks.stores.sqlite.attestations import SqliteAttestations, open_attestations
from tasks.stores.sqlite.lookup import look_up
from tasks.stores.sqlite.opening import roll_back_hot_journal
from tasks.stores.sqlite.resigning import SqliteResigningSession, open_resigning_session
from tasks.stores.sqlite.sealed_log import SqliteLogSession, log_statements, open_log_session
from tasks.stores.sqlite.session import SqliteSession, open_session


@dataclass(frozen=True)
class SqliteStore:
    """See stores.protocols.store.Store for what each method promises."""

    settings: Settings

    def exists(self) -> bool:
        return self.settings.place.path.is_file()

    def recover(self) -> None:
        roll_back_hot_journal(self.settings)

    def session(self, *, write: bool) -> AbstractContextManager[SqliteSession]:
        return open_session(self.settings, write=write)

    def pending_session(
        self, *, write: bool, revoked: Collection[str] = ()
    ) -> AbstractContextManager[SqliteResigningSession]:
        return open_resigning_session(self.settings, write=write, revoked=revoked)

    def attestations(self) -> AbstractContextManager[SqliteAttestations]:
        return open_attestations(self.settings)

    def sealed_log(self, *, purpose: Purpose) -> AbstractContextManager[SqliteLogSession]:
        return open_log_session(self.settings, purpose=purpose)

    def sealing_statements(self) -> list[dict[str, Any]]:
        return [compiled.as_json() for compiled in log_statements(self.settings)]

    def apply_schema(self) -> Applied:
        return apply_schema(self.settings)

    def is_applied(self) -> bool:
        return is_applied(self.settings)

    def look_up(self, connection: Any, fact_ids: Sequence[str]) -> dict[str, Provenance]:
        return look_up(connection, self.settings, fact_ids)
