"""The state of one metadata row: what can be said of it, given its log and the registered keys.

The first of these that applies, decided on the bytes before any cryptography:

    malformed    ed25519_sig is not well-formed: signature_column.py; or a field has another type than it must, or is
                 not UTF-8
    downgraded   64 zero bytes, although some log row of this fact holds something else than 128 zeros
    unlogged     64 zero bytes, and the latest log row of the fact does not say so
    unsigned     64 zero bytes otherwise
    unknown_key  the key id is not that of a registered key for rows
    unlogged     the latest log row of the fact does not hold exactly this signature
    invalid      the signature does not verify over the payload of the row
    revoked      it verifies, but not in a leaf in which its key is trusted
    valid        none of the above

Source of the rule by which a signature verifies: ed25519.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from tasks.attestation import ed25519
from tasks.attestation.payload import encoder
from tasks.attestation.public_keys import KeyRegistry, RegisteredKey
from tasks.attestation.signature_column import PLACEHOLDER_HEX, parse
from tasks.core.errors import SealError
from tasks.core.fact_keys import Key
from tasks.core.values import storage_class

State = Literal["valid", "unsigned", "invalid", "malformed", "unknown_key", "revoked", "downgraded", "unlogged"]
STATES: Final[tuple[State, ...]] = (
    "valid", "unsigned", "invalid", "malformed", "unknown_key", "revoked", "downgraded", "unlogged",
)  # fmt: skip
"""Every state, in the order in which they are reported."""

_MOST_ENCODERS = 1000  # attesters whose encoder is kept


class MetadataRow(NamedTuple):
    """One metadata row with the latest log row of its fact, as the database holds them.

    Text that is not UTF-8 comes as NotUtf8. `attestation_id` and `signature_hex` are None without a log row.
    `ever_signed` is 1 if the log holds anything but 128 zeros for the fact; it is asked for placeholders only.
    """

    fact_id: Any
    source_doc: Any
    extracted_at: Any
    verified_by: Any
    confidence_lower: Any
    confidence_upper: Any
    ed25519_sig: Any
    attestation_id: Any
    signature_hex: Any
    ever_signed: Any


class RowFinding(NamedTuple):
    """A row that is not valid, and why."""

    fact_id: Key
    state: State
    detail: str


class _TrustedKey(NamedTuple):
    """A key for rows, ready to use: its signatures count in log rows `first <= attestation_id < end`."""

    name: str
    verify: Callable[[bytes, bytes], bool]
    first: int
    end: float


Rows = Sequence[tuple[Any, ...]]
_Signed = tuple[Callable[[bytes, bytes], bool], bytes, bytes]
"""What verifies it, its payload and its signature."""


class Judge:
    """Decides the state of rows by one registry.

    `first_id_of_leaf` gives the least attestation id whose leaf is that one or a later one, or None if there is none
    yet; it raises SealError if no leaf is known. `logged_before` gives a log row of the fact with this signature, or
    None; it is asked for unlogged rows.
    """

    def __init__(
        self,
        registry: KeyRegistry,
        *,
        first_id_of_leaf: Callable[[int], int | None],
        logged_before: Callable[[str, str], int | None],
    ) -> None:
        self._registry = registry
        self._logged_before = logged_before
        self._keys: dict[bytes | None, _TrustedKey] = {
            key.id_bytes: _trusted(key, first_id_of_leaf) for key in registry.of_use("rows")
        }
        self._encoders = _Encoders()

    def findings(self, rows: Rows) -> list[RowFinding]:
        """Those of `rows`, in the order of MetadataRow, that are not valid: what `judge` says of each one.

        1. Prepare the rows without any oddity. 2. Verify those, and hand every other row to `judge`.

        The steps are apart because the interpreter and libsodium push each other out of the processor's caches: taken
        in turns, they cost about four microseconds a row more.
        """
        found = []
        for row, signed in zip(rows, list(self._prepared(rows)), strict=True):
            if signed is not None:
                verify, payload, signature = signed
                if verify(payload, signature):
                    continue
            finding = self.judge(MetadataRow._make(row))
            if finding is not None:
                found.append(finding)
        return found

    def _prepared(self, rows: Rows) -> Iterator[_Signed | None]:
        """For every row what is left to verify, if nothing else can be said of it; else None."""
        keys, encoders = self._keys, self._encoders
        for row in rows:
            fact_id, source_doc, extracted_at, verified_by, lower, upper, blob, logged_id, logged_hex, _ = row
            column = parse(blob)
            if (
                not isinstance(column, str)
                and (key := keys.get(column.key_id)) is not None
                and column.signature.hex() == logged_hex
                and type(logged_id) is int
                and key.first <= logged_id < key.end
                and type(fact_id) is str
                and type(extracted_at) is str
                and (source_doc is None or type(source_doc) is str)
                and (verified_by is None or type(verified_by) is str)
                and (lower is None or type(lower) is float)
                and (upper is None or type(upper) is float)
            ):
                payload = encoders[verified_by]((fact_id, source_doc, extracted_at, lower, upper))
                yield key.verify, payload, column.signature
            else:
                yield None

    def judge(self, row: MetadataRow) -> RowFinding | None:
        """What is to be said of one row by the rules as they stand above; None if it is valid. Never raises."""
        column = parse(row.ed25519_sig)
        if isinstance(column, str):
            return RowFinding(row.fact_id, "malformed", f"ed25519_sig: {column}")
        objection = _malformed_field(row)
        if objection is not None:
            return RowFinding(row.fact_id, "malformed", objection)
        signature, key_id = column
        state, detail = self._placeholder(row) if key_id is None else self._signed(row, signature, key_id)
        return None if state == "valid" else RowFinding(row.fact_id, state, detail)

    def payload(self, row: MetadataRow) -> bytes:
        """What the signature of a row that is not malformed is over."""
        record = (row.fact_id, row.source_doc, row.extracted_at, row.confidence_lower, row.confidence_upper)
        return self._encoders[row.verified_by](record)

    def _placeholder(self, row: MetadataRow) -> tuple[State, str]:
        if row.ever_signed:
            return "downgraded", "a placeholder now, although the log holds a signature for this fact"
        if row.signature_hex != PLACEHOLDER_HEX:
            return "unlogged", f"a placeholder, but {_other_log_row(row)}"
        return "unsigned", "a placeholder: 64 zero bytes"

    def _signed(self, row: MetadataRow, signature: bytes, key_id: bytes) -> tuple[State, str]:
        key = self._keys.get(key_id)
        if key is None:
            return "unknown_key", self._unknown(key_id.hex())
        if row.signature_hex != signature.hex():
            return "unlogged", self._unlogged(row, signature.hex())
        if not key.verify(self.payload(row), signature):
            return "invalid", f"the signature does not verify under {key.name}: the row or the signature was altered"
        if not (isinstance(row.attestation_id, int) and key.first <= row.attestation_id < key.end):
            return "revoked", f"{key.name} ({key_id.hex()}) is not trusted in the leaf of log row {row.attestation_id}"
        return "valid", ""

    def _unknown(self, key_id: str) -> str:
        key = self._registry.find(key_id)
        if key is not None:
            return f"key id {key_id} is registered for {key.use}, not for rows"
        return f"key id {key_id} is not in {self._registry.source}"

    def _unlogged(self, row: MetadataRow, signature_hex: str) -> str:
        earlier = self._logged_before(row.fact_id, signature_hex)
        if earlier is not None:
            return f"replayed: log row {earlier} holds this signature, but {row.attestation_id} is the latest"
        return _other_log_row(row)


class _Encoders(dict["str | None", Callable[[Any], bytes]]):
    """Attester -> the payload encoder of its rows."""

    def __missing__(self, verified_by: str | None) -> Callable[[Any], bytes]:
        if len(self) >= _MOST_ENCODERS:
            self.clear()
        encode = self[verified_by] = encoder(verified_by)
        return encode


def _trusted(key: RegisteredKey, first_id_of_leaf: Callable[[int], int | None]) -> _TrustedKey:
    """The leaves in which a key is trusted, as attestation ids: both grow together. None where no leaf is known."""
    first_leaf, end_leaf = key.trusted_leaves
    nowhere = _TrustedKey(key.name, ed25519.verifier(key.key.public_key), 0, float("-inf"))
    if end_leaf is not None and end_leaf <= first_leaf:
        return nowhere
    try:
        first = first_id_of_leaf(first_leaf) if first_leaf else -(2**63)
        end = first_id_of_leaf(end_leaf) if end_leaf is not None else None
    except SealError:
        return nowhere
    return _TrustedKey(
        key.name, ed25519.verifier(key.key.public_key),
        2**63 if first is None else first, float("inf") if end is None else end,
    )  # fmt: skip


def _other_log_row(row: MetadataRow) -> str:
    if row.attestation_id is None:
        return "the log holds no row for this fact"
    return f"the latest log row, {row.attestation_id}, holds something else"


_FIELDS: Mapping[str, tuple[type, ...]] = {
    "fact_id": (str,),
    "source_doc": (str, type(None)),
    "extracted_at": (str,),
    "verified_by": (str, type(None)),
    "confidence_lower": (float, type(None)),
    "confidence_upper": (float, type(None)),
}


def _malformed_field(row: MetadataRow) -> str | None:
    """Why no signature over this row can be looked at, or None."""
    for name, types in _FIELDS.items():
        value = getattr(row, name)
        if type(value) not in types:
            expected = " or ".join(storage_class(one()) for one in types)
            return f"{name}: {storage_class(value)}, expected {expected}"
    return None
