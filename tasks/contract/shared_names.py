"""No table, and no column of one, plays two roles."""

from __future__ import annotations

from tasks.contract.findings import Drift, Findings


def refuse_shared_names(found: Findings) -> None:
    """Two roles in one table would let the job write to what it reads."""
    tables = found.settings.tables
    roles = {
        f"tables.{role}.name": getattr(tables, role).name for role in ("facts", "source", "metadata", "attestation_log")
    }
    roles |= {f"tables.ledger.{role}": name for role, name in tables.ledger.model_dump().items()}
    seen: dict[str, str] = {}
    for key, name in roles.items():
        other = seen.setdefault(name.lower(), key)
        if other != key:
            mend = "Give each role a table of its own."
            found.drift.append(Drift(name, f"named for two roles, {other} and {key}", found.where(key), mend))


def refuse_shared_columns(found: Findings) -> None:
    """Two roles of one table in one column would overwrite each other."""
    for role in ("facts", "source", "metadata", "attestation_log"):
        names: dict[str, str | None] = getattr(found.settings.tables, role).model_dump()
        seen: dict[str, str] = {}
        for column_role, name in names.items():
            if column_role == "name" or name is None:
                continue
            other = seen.setdefault(name.lower(), column_role)
            if other != column_role:
                key = f"tables.{role}.{column_role}"
                problem = f'column "{name}" named for two roles, {other} and {column_role}'
                found.drift.append(
                    Drift(str(names["name"]), problem, found.where(key), "Give each role its own column.")
                )
