"""Everything this platform raises on purpose.

    GnnAssetsError
    ├── ConfigError            a setting is misspelt, missing or out of range
    ├── PluginError            no source, model or strategy of that name
    ├── UniverseError          the universe cannot be traded or graphed
    ├── SourceError            a source of bars did not give what was asked
    │   ├── Throttled          it asks to be asked less often
    │   ├── Upstream           it is down, slow, reset the connection or answered with an error of its own
    │   ├── Malformed          it answered, and not in its own format
    │   ├── AccessRefused      it does not accept the key, or wants one
    │   ├── NoData             it knows the symbol or may, and has no bar for the dates
    │   ├── UnknownSymbol      it has never heard of the symbol
    │   └── BadSymbol          no symbol at all: refused before anybody is asked
    ├── DataError              data that must not go further
    │   └── StaleData          data older than its limit, where only fresh data were asked for
    ├── StoreError
    │   ├── MissingArtefact    nothing of that name or version is stored
    │   ├── CorruptArtefact    the bytes are not those the manifest promised
    │   ├── SchemaMismatch     stored columns are not those the code declares
    │   │   └── NewerSchema    the artefact was written by a newer release
    │   ├── DiskFull           no room left; nothing was half-written
    │   ├── ReadOnly           the folder cannot be written; nothing was half-written
    │   ├── LockTimeout        another process is writing the same thing
    │   └── PointerConflict    compare-and-set lost: somebody moved it first
    ├── ModelError
    │   ├── WeightsMismatch    weights do not fit the network they are loaded into
    │   └── PredictionFailed   a model that was opened failed while it looked at the data
    └── VerificationFailed     a forecast recomputed from its card is not the one published

Every message is one sentence: what it is about, what was expected, what it was, what to do.
"""

from typing import Self


class GnnAssetsError(Exception):
    """Base of the tree; the command line turns it into one sentence and exit code 1."""

    @classmethod
    def of(cls, subject: str, *, expected: object, was: object, do: str) -> Self:
        """Builds the message "subject: expected X, was Y; do Z."."""
        return cls(f"{subject}: expected {expected}, was {was}; {do}.")


class ConfigError(GnnAssetsError):
    """A setting is misspelt, missing or out of range."""


class PluginError(GnnAssetsError):
    """No plug-in of that name exists."""


class UniverseError(GnnAssetsError):
    """The universe cannot be traded or graphed."""


class SourceError(GnnAssetsError):
    """A source of bars did not give what was asked."""


class Throttled(SourceError):
    """The source asks to be asked less often.

    Args:
        retry_after: seconds it wants to be left alone; None if it did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Upstream(SourceError):
    """The source is down, slow, reset the connection or answered with an error of its own.

    Args:
        retry_after: seconds it wants to be left alone; None if it did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Malformed(SourceError):
    """The source answered, and not in its own format.

    Args:
        payload: the bytes it sent, for quarantine.
    """

    def __init__(self, message: str, *, payload: bytes = b"") -> None:
        super().__init__(message)
        self.payload = payload


class AccessRefused(SourceError):
    """The source does not accept the key, or wants one."""


class NoData(SourceError):
    """The source has no bar of the symbol for the dates asked."""


class UnknownSymbol(SourceError):
    """The source has never heard of the symbol."""


class BadSymbol(SourceError):
    """No symbol at all: refused before anybody is asked."""


class DataError(GnnAssetsError):
    """Data that must not go further down the flow."""


class StaleData(DataError):
    """Data older than its limit, where only fresh data were asked for."""


class StoreError(GnnAssetsError):
    """The store cannot read or write."""


class MissingArtefact(StoreError):
    """Nothing of that name or version is stored."""


class CorruptArtefact(StoreError):
    """The bytes are not those the manifest promised."""


class SchemaMismatch(StoreError):
    """Stored columns are not those the code declares."""


class NewerSchema(SchemaMismatch):
    """The artefact was written by a newer release than this one."""


class DiskFull(StoreError):
    """No room left; nothing was half-written."""


class ReadOnly(StoreError):
    """The folder cannot be written; nothing was half-written."""


class LockTimeout(StoreError):
    """Another process is writing the same thing."""


class PointerConflict(StoreError):
    """Compare-and-set lost: somebody moved the pointer first."""


class ModelError(GnnAssetsError):
    """A model cannot be trained or used."""


class PredictionFailed(ModelError):
    """A model that was opened failed while it looked at the data: either may be at fault."""


class WeightsMismatch(ModelError):
    """Weights do not fit the network they are loaded into."""


class VerificationFailed(GnnAssetsError):
    """A forecast recomputed from its card is not the one published."""
