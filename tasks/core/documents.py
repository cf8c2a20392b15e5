"""What is read back from files and from the ledger, turned into typed values before anything rests on it.

Whoever can write the state folder or the database can put anything there, so what comes from there is checked like any
other input: every type, every range, every spelling. What a value says is another question, see docs/security.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, TypeAdapter, ValidationError

from tasks.core.fact_keys import from_json

_T = TypeVar("_T")

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_MOST_CHARACTERS = 16 * 2**20  # of one document; a plan of 500 chunks with keys of a thousand characters has a million


def _moment(text: str) -> str:
    if not _MOMENT.fullmatch(text):
        raise ValueError("expected a time like 2026-05-12T01:23:45.000Z")
    datetime.fromisoformat(text[:-1])
    return text


Moment = Annotated[str, AfterValidator(_moment)]
"""A time as the job writes it, and one that exists."""

Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
JsonKey = Annotated[Any, PlainValidator(from_json)]
"""A fact key as `keys.to_json` spells it."""


def loads(text: object) -> dict[str, Any]:
    """The JSON object in a text. Raises ValueError for anything else, however deep or long."""
    if not isinstance(text, str):
        raise ValueError("it is no text")
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters, expected at most {_MOST_CHARACTERS}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def _refuse(value: object) -> None:
    raise ValueError(f"{type(value).__name__} where text or a number belongs")


def typed(adapter: TypeAdapter[_T], content: dict[str, Any]) -> _T:
    """The value that a JSON object spells. Nothing is converted: text for a number is no number.

    Raises ValueError with the first member that is not as it should be.
    """
    try:
        return adapter.validate_json(json.dumps(content, default=_refuse), strict=True)
    except ValidationError as error:
        where, seen = _first_of(error)
        raise ValueError(f"{'.'.join(map(str, where))}: {seen}" if where else seen) from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def typed_row(adapter: TypeAdapter[_T], names: Sequence[str], values: Sequence[object]) -> _T:
    """The tuple that a row of a database is, if each column has the type that the adapter says. Nothing is converted.

    Raises ValueError with the name of the first column that has not.
    """
    try:
        return adapter.validate_python(tuple(values), strict=True)
    except ValidationError as error:
        where, seen = _first_of(error)
        raise ValueError(f"{names[int(where[0])]}: {seen}") from None


def _first_of(error: ValidationError) -> tuple[tuple[int | str, ...], str]:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return first["loc"], first["msg"]
