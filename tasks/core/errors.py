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

Each message says what, where, seen against expected, the next step, and what was written. The log
shows such an error as its message alone; a traceback means a defect of this program.
"""

from __future__ import annotations

import re


class ProvenanceError(Exception):
    """Base of every error that a user can cause and mend."""

    def __reduce__(self) -> tuple[type[ProvenanceError], tuple[str]]:
        """Cross a process boundary as the message alone: no chained cause, no locals."""
        return type(self), (str(self),)


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

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
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


_ADVICE = re.compile(
    r"(, then run| Run|; run) the same command again(?: once that is mended)?(?:, it continues from there)?\.?(?=\s|$)"
)


def without_advice(error: ProvenanceError) -> str:
    """The message without its words to run the command again: for whoever tries again himself, or says it better."""
    return _ADVICE.sub(lambda found: "" if found[1] == " Run" else ".", str(error))
