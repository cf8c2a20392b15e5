"""Is the store still what its log says of a fact? Nothing is written over a row of which that is not certain.

A fact that the log knows is written only if its metadata row is what its latest attestation (the one with the largest
id) attests:

    signed         the signature is the one in the log, and holds over the row by a key that is known and trusted there
    a placeholder  nothing but placeholders was ever logged for it, and where its log row is sealed the payload of the
                   row has the digest that was sealed

Anything else, a row that is gone among it, is evidence: rejected as `not_as_logged`, and left as it is. Unless an
operator gave the word to go on (`--reattest --because`): then it is written over, and the log keeps that word.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property, partial
from hashlib import sha256
from types import TracebackType
from typing import Any, Final, NoReturn, Protocol

from tasks.attestation.log.leaves import NO_DIGEST
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.attestation.row_states import Judge, MetadataRow
from tasks.attestation.signer import Signer
from tasks.attestation.supersession import LONGEST_REASON, Supersession, is_reason
from tasks.core.errors import NOTHING_WRITTEN, DriftError, ParameterError, SealError
from tasks.core.values import Reject
from tasks.derivation.batch import Derivation
from tasks.job.settings import Settings
from tasks.sealed_log.key_standing import registry_of
from tasks.sealed_log.proven_digests import ProvenDigests
from tasks.stores.open import open_store
from tasks.stores.protocols.batches import Superseded

NOT_AS_LOGGED: Final = "not_as_logged"

_SHOWN = 16  # hex digits


def known_keys(signer: Signer | None, settings: Settings) -> KeyRegistry:
    """The registered keys, and the run's own unless the registry has something to say of it.

    Raises KeyRegistryError if the registry is there and is not what it should be.
    """
    known = registry_of(settings)
    if signer is None or known.find(signer.key_id.hex()) is not None:
        return known
    own = entry_for(VerifierKey(signer.key_name, signer.public_key), "rows")
    return KeyRegistry((*known.keys, own), known.source)


class Attestations(Protocol):
    """What a witness reads of a session."""

    def latest_attestation(self, fact_id: str) -> int | None: ...

    def attested_metadata(self, fact_id: str) -> tuple[Any, ...] | None: ...


class Witness:
    """Says of facts that the log knows whether they may be written. A context manager: it opens what it needs.

    `because` is an operator's reason to write over what is not as it was logged. The tiles and their checkpoint are
    read once, when the first fact needs them.
    """

    def __init__(
        self, session: Attestations, settings: Settings, signer: Signer | None, *, because: str | None = None
    ) -> None:
        self._session = session
        self._settings = settings
        self._signer = signer
        self._because = because
        self._opened = ExitStack()

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.close()

    def hear(self, fact_id: str) -> Superseded | Reject:
        """What a write of this fact supersedes, or why it may not be written.

        Raises KeyRegistryError, DatabaseError or LockedError.
        """
        latest = self._session.latest_attestation(fact_id)
        if latest is None:
            return _refuse(fact_id, "its attestation was there a moment ago, and is gone")
        row = self._session.attested_metadata(fact_id)
        missing = f"it has no metadata row, expected the one that attestation {latest} attests"
        objection = missing if row is None else self._objection(MetadataRow._make(row))
        if objection is None:
            return Superseded(latest, row, Supersession("update", latest).notes())
        if self._because is None:
            return _refuse(fact_id, objection)
        return Superseded(latest, row, Supersession("reattestation", latest, self._because).notes())

    def _objection(self, row: MetadataRow) -> str | None:
        """Seen against expected, or None if the row is what its latest attestation attests."""
        finding = self._judge.judge(row)
        if finding is None:
            return None
        if finding.state != "unsigned":
            return f"{finding.state}: {finding.detail}; {_signatures(row)}"
        return self._placeholder(row)

    def _placeholder(self, row: MetadataRow) -> str | None:
        try:
            sealed = self._sealed_digest(row.attestation_id)
        except SealError as error:
            return str(error)
        if sealed is None:
            return None
        found = sha256(self._judge.payload(row)).digest()
        if found == sealed:
            return None
        expected = "none" if sealed == NO_DIGEST else f"{sealed.hex()[:_SHOWN]}…"
        return (
            f"its fields have the payload {found.hex()[:_SHOWN]}…, expected {expected}, as sealed with attestation "
            f"{row.attestation_id}"
        )

    @cached_property
    def _judge(self) -> Judge:
        reader = self._opened.enter_context(open_store(self._settings).attestations())
        return Judge(
            known_keys(self._signer, self._settings),
            first_id_of_leaf=reader.first_id_of_leaf,
            logged_before=reader.logged_before,
        )

    @cached_property
    def _sealed_digest(self) -> Callable[[int], bytes | None]:
        """`ProvenDigests.digest`. None for every row of a log that cannot be sealed; raises if it was altered."""
        try:
            session = self._opened.enter_context(open_store(self._settings).sealed_log(purpose="read"))
            return ProvenDigests(session, self._settings).digest
        except DriftError:
            return lambda _: None
        except SealError as error:
            return partial(_raise, error)


def _raise(error: SealError, _: int) -> NoReturn:
    raise error


def reason_to_reattest(reattest: bool, because: str | None) -> str | None:
    """The operator's reason to write over what is not as it was logged, None if that was not asked for.

    Raises ParameterError unless both are given or neither, and for a reason that says nothing or cannot be shown.
    """
    if not reattest and because is None:
        return None
    if not reattest or because is None:
        given, other = ("--reattest", "--because TEXT") if reattest else ("--because", "--reattest")
        raise ParameterError(f"needs {other} beside it", where=str(given), written=NOTHING_WRITTEN)
    if not is_reason(because):
        raise ParameterError(
            f"expected a reason of 1 to {LONGEST_REASON} printable characters on one line, found "
            f"{because[:_SHOWN]!a} with {len(because)}",
            where="--because",
            written=NOTHING_WRITTEN,
        )
    return because


def hear_all(witness: Witness, derivation: Derivation) -> dict[str, Superseded]:
    """Settle the facts of a batch that the log knows. Gives what the accepted ones supersede, by fact id."""
    superseded = {}
    for fact, record in derivation.attested:
        answer = witness.hear(record.fact_id)
        if isinstance(answer, Reject):
            derivation.rejects.append(answer)
        else:
            derivation.accept(fact, record)
            superseded[record.fact_id] = answer
    derivation.attested.clear()
    return superseded


def _signatures(row: MetadataRow) -> str:
    blob = row.ed25519_sig
    seen = f"{blob.hex()[:_SHOWN]}…" if isinstance(blob, bytes) else repr(blob)
    return f"ed25519_sig {seen}, attestation {row.attestation_id} holds {str(row.signature_hex)[:_SHOWN]}…"


def _refuse(fact_id: str, detail: str) -> Reject:
    return Reject(fact_id, NOT_AS_LOGGED, detail)
