"""The named errors of the package. Each message says what was wrong, what was received and what to do."""

from __future__ import annotations


class ArtPluginsError(Exception):
    """Base of every error that the package raises on purpose; the command line prints it as one sentence."""


class InvalidInputError(ArtPluginsError, ValueError):
    """An argument, an array, a label or a file has a value that cannot be used."""


class MissingPackageError(ArtPluginsError, ImportError):
    """An optional package is not installed or cannot be imported."""


class NotFittedError(ArtPluginsError, RuntimeError):
    """A result was requested before the call that computes it."""


class WorkersLostError(ArtPluginsError, RuntimeError):
    """Worker processes ended unexpectedly, again and again."""


class FileFormatError(InvalidInputError):
    """A saved file is not of the expected kind, version or shape, or its checksum does not match."""
