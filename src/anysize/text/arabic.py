"""
Arabic spelling made one: what writers and machine translation spell in several ways, spelt in one, by choice.

The steps are those of AraBERT's preprocessing (Antoun et al. 2020, arXiv 2003.00104: marks, tatweel, digits) and of
CAMeL Tools (Obeid et al. 2020: alef, ya, ta marbuta). Each is a field, so that what was done can be written down.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import overload

from anysize.core.arguments import TEXT, TEXTS, takes

_BLOCKS = ((0x0600, 0x06FF), (0x0750, 0x077F), (0x0870, 0x089F), (0x08A0, 0x08FF))
_PRESENTATION = ((0xFB50, 0xFDFF), (0xFE70, 0xFEFC))
_MARKS = "".join(
    chr(code)
    for first, last in _BLOCKS
    for code in range(first, last + 1)
    if unicodedata.category(chr(code)) == "Mn"
)  # fmt: skip
ALEF, HEH, YEH = "\N{ARABIC LETTER ALEF}", "\N{ARABIC LETTER HEH}", "\N{ARABIC LETTER YEH}"
_HAMZA_MARKS = "\u0653\u0654\u0655"  # madda above, hamza above, hamza below
_DROP_MARKS = dict.fromkeys(map(ord, _MARKS))
_DROP_VOWELS = {mark: None for mark in _DROP_MARKS if chr(mark) not in _HAMZA_MARKS}
_ALEF = re.compile(f"[اآأإٱٲٳٵ]([{_MARKS}]*)")
_DROP_HAMZA = dict.fromkeys(map(ord, _HAMZA_MARKS))
_YA = {ord(letter): YEH for letter in "ىی"}
_DIGITS = {zero + digit: str(digit) for zero in (0x0660, 0x06F0) for digit in range(10)}
_FORMS = {
    # An isolated mark decomposes into a space and the mark; the space is no part of the word.
    code: unicodedata.normalize("NFKC", chr(code)).strip()
    for first, last in _PRESENTATION
    for code in range(first, last + 1)
    if unicodedata.decomposition(chr(code))
}


@dataclass(frozen=True)
class ArabicNormalizer:
    """
    Normalises Arabic text, one text or a list; other scripts keep their letters.

    Apply the same one to what is trained on, to queries and to documents: normalising one side only is worse than
    none. Applying it twice changes nothing. Canonical composition (Unicode NFC) is always done, so that a letter and
    its hamza are one character. An Arabic model's own preprocessing, where it has one, comes instead of this.
    """

    diacritics: bool = True
    """Remove vowel marks, shadda, sukun, superscript alef and Qur'anic annotation. They are rarely written, so a word
    with them would be another word to a tokenizer."""
    tatweel: bool = True
    """Remove the stroke that merely lengthens a word."""
    alef: bool = True
    """Write alef with hamza, madda or wasla as bare alef, as many writers do. Merges a few words."""
    ya: bool = False
    """Write alef maqsura, and the Persian ya, as ya. Merges words such as 'on' and the name Ali."""
    ta_marbuta: bool = False
    """Write ta marbuta as ha. Merges the feminine ending with 'his'."""
    digits: bool = True
    """Write Arabic-Indic and Persian digits as 0-9."""
    presentation_forms: bool = True
    """Write the shaped letters and ligatures of PDF files as ordinary letters."""

    @overload
    def __call__(self, texts: str) -> str: ...

    @overload
    def __call__(self, texts: list[str]) -> list[str]: ...

    @takes(texts=TEXT | TEXTS)
    def __call__(self, texts: str | list[str]) -> str | list[str]:
        """The text, or each text of a list, normalised."""
        return self._one(texts) if isinstance(texts, str) else [self._one(text) for text in texts]

    def _one(self, text: str) -> str:
        if self.presentation_forms:
            text = text.translate(_FORMS)
        if self.tatweel:
            text = text.replace("\u0640", "")
        text = unicodedata.normalize("NFC", text)
        if self.diacritics:
            # A hamza goes to its letter before the rest goes: it is spelling, not a vowel.
            text = unicodedata.normalize("NFC", text.translate(_DROP_VOWELS)).translate(_DROP_MARKS)
        if self.alef:
            text = _ALEF.sub(lambda found: ALEF + found[1].translate(_DROP_HAMZA), text)
        if self.ya:
            text = text.translate(_YA)
        if self.ta_marbuta:
            text = text.replace("ة", HEH)
        if self.digits:
            text = text.translate(_DIGITS)
        return unicodedata.normalize("NFC", text)
