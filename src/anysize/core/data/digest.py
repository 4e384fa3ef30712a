"""The fingerprint of what was read."""

from __future__ import annotations

import hashlib

from anysize.core.data.files.rows import Row
from anysize.core.errors import DataError


class Digest:
    """SHA-256 over parsed fields, each with its length, so that one content has one fingerprint in any format."""

    def __init__(self, *kind: str) -> None:
        self._hash = hashlib.sha256("\0".join(kind).encode())

    def add(self, row: Row, *fields: str) -> None:
        """Take in the fields of one row. Raises `DataError`, naming the row, if one cannot be written as UTF-8."""
        for text in fields:
            try:
                content = text.encode()
            except UnicodeEncodeError:
                raise DataError(f"{row.where} holds half a surrogate pair, which is not a character") from None
            self._hash.update(len(content).to_bytes(8, "big") + content)

    def hex(self) -> str:
        """The digest so far, as hex digits."""
        return self._hash.hexdigest()
