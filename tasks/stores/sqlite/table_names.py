"""The canonical declarations under the names of the job file."""

from __future__ import annotations

import re

from tasks.contract.catalogue import Catalogue
from tasks.job.settings import Settings
from tasks.stores.sqlite.schema_file import LEDGER_TABLES
from tasks.stores.sqlite.sql.spelling import quoted

_TOKEN = re.compile(r"'[^']*'|[A-Za-z_][A-Za-z0-9_]*")


class TableNames:
    """Canonical names to those of the job file."""

    def __init__(self, settings: Settings) -> None:
        tables = settings.tables
        models = {"am_fact_metadata": tables.metadata, "am_fact_attestation_log": tables.attestation_log}
        ledger = tables.ledger.model_dump()
        self.tables = {"am_fact_metadata": tables.metadata.name, "am_fact_attestation_log": tables.attestation_log.name}
        self.tables |= {canonical: ledger[role] for role, canonical in LEDGER_TABLES.items()}
        self._columns = {
            canonical: {
                str(field.default): getattr(model, role)
                for role, field in type(model).model_fields.items()
                if role != "name" and getattr(model, role) not in (None, field.default)
            }
            for canonical, model in models.items()
        }

    def of(self, name: str) -> str:
        """The name here of a canonical table, or of an index, whose name begins with its table's."""
        for canonical, here in self.tables.items():
            if name == canonical or name.startswith(f"ix_{canonical}_"):
                return name.replace(canonical, here)
        return name

    def rewrite(self, text: str, table: str) -> str:
        """A canonical statement with the names of the job file. Literals stay as they are."""
        columns = self._columns.get(table, {})

        def replace(match: re.Match[str]) -> str:
            token = match.group()
            here = columns.get(token, self.of(token))
            return token if token.startswith("'") or here == token else quoted(here)

        return _TOKEN.sub(replace, text)

    def why_no_view(self, catalogue: Catalogue) -> str | None:
        """The views show canonical columns, so they need them under those names."""
        renamed = [new for columns in self._columns.values() for new in columns.values()]
        if renamed:
            return f"the job file names columns of its own ({', '.join(renamed)})"
        log = catalogue.table(self.tables["am_fact_attestation_log"])
        return "the attestation log has no column signed_at" if log and log.column("signed_at") is None else None
