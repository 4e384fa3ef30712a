"""What public functions are handed, checked where it comes in: a wrong thing is one sentence and not a traceback."""

from anysize.core.arguments.kind import Kind, Unfit, expect, shown, takes
from anysize.core.arguments.rows import FINITE_ROWS, LABELS, NUMBERS, ROWS, TEXTS, VECTOR, as_float32
from anysize.core.arguments.single import FLAG, MAPPING, PATH, TEXT, instance, many, number, one_of, whole
from anysize.core.errors import nearest

__all__ = [
    "FINITE_ROWS",
    "FLAG",
    "LABELS",
    "MAPPING",
    "NUMBERS",
    "PATH",
    "ROWS",
    "TEXT",
    "TEXTS",
    "VECTOR",
    "Kind",
    "Unfit",
    "as_float32",
    "expect",
    "instance",
    "many",
    "nearest",
    "number",
    "one_of",
    "shown",
    "takes",
    "whole",
]
