"""Everything that can end a run for a reason its operator can mend.

    ProvenanceError
    ├── JobFileError           the job file: unknown key, wrong type, missing variable
    ├── ParameterError         a command-line parameter that cannot be what was meant
    ├── SigningKeyError        a key that is configured but missing, unreadable or malformed
    ├── SignerError            the compiled signer makes other signatures than PyNaCl; none of them is given out
    ├── DatabaseError          the file or the engine: missing, locked, read-only, full, no database
    │   ├── LockedError        another writer held the lock for longer than the job may wait
    │   ├── DiskFullError      no space is left for the database or its journal
    │   └── RowRefusedError    the database itself refuses a row, or cannot compute one
    ├── DriftError             the database does not honour the contract (all drift at once)
    ├── SchemaChangedError     the schema changed while a chunk ran; its cursor is kept
    ├── SignalledError         a signal told this process to end; the cursor of its chunk is kept
    ├── OrphanedError          the process that had started a worker is gone; the cursor of its chunk is kept
    ├── RejectsError           a run rejects nearly every fact; the cursors of its chunks are kept
    ├── StateError             plan, marker and ledger do not belong together
    ├── KeyRegistryError       config/keys.yaml: missing, or an entry that no verdict may rest on
    ├── VerificationError      metadata rows were verified, and not all of them are valid
    ├── SealError              the log cannot be sealed: it is not the one that was sealed before
    ├── ProofError             there is nothing to prove, or the log does not match its checkpoint
    ├── PublicKeyError         a public key or verifier key that no verdict may rest on
    ├── NoteError              not a signed note, checkpoint or proof of inclusion
    │   ├── InvalidSignatureError   a known key is named, and its signature does not verify
    │   └── UnverifiedNoteError     no known key has signed it
    └── SampleError            the sample database cannot be made

Each says what, where, seen against expected, the next step, and what was written: as fields, of which its text is made
in one place. The log shows such an error as its text alone; a traceback means a defect of this program.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final, TypeVar

NOTHING_WRITTEN: Final = "Nothing was written"
RUN_AGAIN: Final = "Run the same command again"
AND_RUN_AGAIN: Final = ", then run the same command again"

_E = TypeVar("_E", bound="ProvenanceError")


class ProvenanceError(Exception):
    """Base of every error that a user can cause and mend.

        what         what is not as it must be
        where        the file and its line, the table, the parameter, the chunk
        seen         seen against expected, or what the system or the database said
        hint         the next step
        again        that the same command is to be run again: whoever tries again himself leaves it out. It goes on the
                     sentence before it if it begins with a comma or a semicolon
        written      what was written, and what was not
        advice_last  whether hint and again are said behind `written`

    All are sentences without their full stop, or parts of one. An error with nothing but `what` is that text as it
    stands. Fields survive the way from one process to another; a chained cause and local variables do not.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        seen: str | None = None,
        hint: str = "",
        again: str = "",
        written: str = "",
        advice_last: bool = False,
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.seen, self.hint, self.again = what, where, seen or "", hint, again
        self.written, self.advice_last = written, advice_last

    def __str__(self) -> str:
        return self._text(self.again)

    def without_advice(self) -> str:
        """The text without its words to run the command again: for whoever tries again himself, or says it better."""
        return self._text("")

    def at(self: _E, where: str) -> _E:
        """The same error, with a wider place before its own."""
        wider = copy(self)
        wider.where = f"{where}: {self.where}" if self.where else where
        return wider

    def stopped(self: _E, *, where: str, written: str, again: str) -> _E:
        """The same error as the end of something that had begun: what was said of it, then how far that came."""
        ended = copy(self)
        ended.what, ended.seen, ended.hint = self.without_advice(), "", ""
        ended.where, ended.written, ended.again, ended.advice_last = where, written, again, True
        return ended

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross a process boundary with the fields alone: no chained cause, no locals."""
        return type(self), (self.what,), dict(self.__dict__)

    def _text(self, again: str) -> str:
        """The one place in which fields become a text: `where: what, seen. hint, again. written.`"""
        if not any((self.where, self.seen, self.hint, self.again, self.written)):
            return self.what
        head = f"{self.where}: {self.what}" if self.where else self.what
        told = f"{head}{_before(self.seen)}{self.seen}"
        first = (told, self.written, self.hint) if self.advice_last else (told, self.hint)
        text = " ".join(map(_sentence, filter(None, first)))
        if again:
            text = f"{text.removesuffix('.')}{again}." if again.startswith((",", ";")) else f"{text} {again}."
        return text if self.advice_last or not self.written else f"{text} {_sentence(self.written)}"


def _before(seen: str) -> str:
    if not seen:
        return ""
    return ", " if seen.startswith(("expected ", "found ")) else ": "


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


class JobFileError(ProvenanceError):
    """The job file does not say something that the job could act on."""


class ParameterError(ProvenanceError):
    """A task parameter has a value outside what it may hold."""


class SigningKeyError(ProvenanceError):
    """A signing key is configured but cannot be used. Raised before the first write."""


class SignerError(ProvenanceError):
    """The compiled signer and PyNaCl disagree: the processor or the build is at fault."""


class DatabaseError(ProvenanceError):
    """The database cannot be opened, read or written."""


class LockedError(DatabaseError):
    """Another writer held the database for longer than `pacing.lock_timeout_seconds`."""


class DiskFullError(DatabaseError):
    """No space is left for the database, or for what it writes beside itself."""


class RowRefusedError(DatabaseError):
    """The database itself refuses a row of what was read or written, or cannot compute it. `words` are the engine's."""

    def __init__(self, what: str, *, words: str = "", **fields: Any) -> None:
        super().__init__(what, **fields)
        self.words = words


class DriftError(ProvenanceError):
    """The database does not honour the contract. The message lists all drift, each with its mend."""


class SchemaChangedError(ProvenanceError):
    """The schema changed under a running chunk. Everything before its cursor is committed."""


class RejectsError(ProvenanceError):
    """A run rejects more than `pacing.max_rejects` of its facts. Everything before the cursor is committed."""


class OrphanedError(ProvenanceError):
    """The process that had started this worker has ended. Everything before the cursor is committed."""


class SignalledError(ProvenanceError):
    """Ctrl-C, SIGTERM or SIGHUP told this process to end. Everything before the cursor is committed."""


class StateError(ProvenanceError):
    """Files under `state_dir`, or the ledger, belong to another plan or another database."""


class SampleError(ProvenanceError):
    """The sample database cannot be made; an existing file is never overwritten."""


class KeyRegistryError(ProvenanceError):
    """The registry of public keys cannot be read, or an entry in it contradicts itself."""


class VerificationError(ProvenanceError):
    """Rows were verified, and not all are valid. The report is written; the message counts them."""


class SealError(ProvenanceError):
    """The log in the database is not the one that was sealed before, or no key may sign its checkpoints."""


class ProofError(ProvenanceError):
    """A fact has no attestation that can be proven to be in the sealed log."""


class PublicKeyError(ProvenanceError):
    """A public key, or the verifier key that holds it, is malformed, contradicts itself or is weak."""


class NoteError(ProvenanceError):
    """Bytes that are no signed note, or whose text is no checkpoint, or no proof of inclusion."""


class InvalidSignatureError(NoteError):
    """A signed note names a known key, but the signature is not that key's over this text."""


class UnverifiedNoteError(NoteError):
    """A signed note is well-formed, but no known key has signed it: its text says nothing."""
