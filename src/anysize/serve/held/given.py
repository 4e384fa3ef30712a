"""What comes in a request, as a model reads it. A text is a text and never a path: nothing of the machine is opened."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from anysize.serve.held.errors import Refused


def texts_of(given: Any, param: str) -> list[str]:
    """A text or several. Raises `Refused`, naming the place, for one that is empty or none."""
    texts = given if isinstance(given, list) else [given]
    if not texts:
        raise Refused(400, "empty_input", f"{param} holds nothing; give a text, or a list of texts", param)
    for place, text in enumerate(texts):
        where = param if given is text else f"{param} {place}"
        if not isinstance(text, str):
            raise Refused(400, "wrong_type", f"{where} is no text; expected a text, or a list of texts", param)
        if not text.strip():
            raise Refused(400, "empty_input", f"{where} is empty; leave it out", param)
    return texts


def media_of(given: Any, what: str) -> bytes:
    """The bytes of a picture or a sound that came as base64, perhaps in a data URL. Raises `Refused` for others."""
    if isinstance(given, dict):
        given = given.get("url") or given.get("data")
    if not isinstance(given, str):
        raise Refused(400, "wrong_type", f"{what} is no text; send the file as base64, or as a data: URL", what)
    head, comma, rest = given.partition(",")
    if head.startswith("data:") and comma:
        if not head.endswith(";base64"):
            raise Refused(400, "wrong_value", f"the data: URL of {what} is not in base64", what)
        given = rest
    elif "://" in given[:20]:
        raise Refused(400, "not_supported", f"{what} is an address, and nothing is fetched; send a data: URL", what)
    try:
        found = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "wrong_value", f"{what} is no base64", what) from None
    if not found:
        raise Refused(400, "empty_input", f"{what} is empty", what)
    return found
