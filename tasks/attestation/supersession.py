"""What a row of the log says in its `notes` when it takes the place of an earlier attestation of the same fact.

    {"supersedes":106,"type":"re-signed"}                      a placeholder, or a revoked key's signature, was replaced
    {"supersedes":106,"type":"update"}                         the fact got a source, or has changed
    {"because":"…","supersedes":106,"type":"reattestation"}    an operator's word: attest what is there now

By the rule of the payload: sorted keys, no spaces, non-ASCII as it is. Any other spelling is no such record.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from tasks.core.blank import is_blank

Kind = Literal["re-signed", "update", "reattestation"]

LONGEST_REASON: Final = 500
"""Characters of `because`."""

_KINDS: Final = get_args(Kind)
_MOST_NOTES: Final = 8 * LONGEST_REASON  # no record is longer; what is need not be parsed


def is_reason(text: str) -> bool:
    """Whether a text says something, on one line that can be shown, and is not too long to be kept for ever."""
    return not is_blank(text) and len(text) <= LONGEST_REASON and text.isprintable()


@dataclass(frozen=True)
class Supersession:
    """One such record. `because` goes with a reattestation, and with nothing else."""

    kind: Kind
    supersedes: int
    because: str | None = None

    def notes(self) -> str:
        """The record as it stands in `notes`."""
        fields: dict[str, Any] = {"supersedes": self.supersedes, "type": self.kind}
        if self.because is not None:
            fields["because"] = self.because
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def supersession_in(notes: object) -> Supersession | None:
    """The record that a `notes` column holds, spelt exactly as `notes` spells it; None if it holds anything else."""
    if type(notes) is not str or len(notes) > _MOST_NOTES or not notes.startswith("{"):
        return None
    try:
        fields = json.loads(notes)
    except (ValueError, RecursionError):
        return None
    kind, supersedes, because = (fields.get(name) for name in ("type", "supersedes", "because"))
    if kind not in _KINDS or type(supersedes) is not int or type(because) not in (str, type(None)):
        return None
    found = Supersession(kind, supersedes, because)
    is_whole = found.notes() == notes and (because is not None) == (kind == "reattestation")
    return found if is_whole else None
