"""What requests may hold: a table of fields for each endpoint, by which they are checked and described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anysize.core.errors import nearest
from anysize.serve.held.errors import Refused

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_SAID = {"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}


@dataclass(frozen=True)
class Field:
    """A field of a request: the JSON types that it may have, what it says, and which words it may be."""

    name: str
    types: tuple[str, ...]
    doc: str
    required: bool = False
    choices: tuple[str | bool, ...] = ()
    least: float | None = None
    most: float | None = None
    items: Mapping[str, Any] | None = None
    """Of an array: the schema of its items."""

    def check(self, value: Any) -> None:
        """Raise `Refused` if the value is none that it may have."""
        fits = any(_is(kind, value) for kind in self.types)
        if not fits:
            wanted = " or ".join(_SAID.get(kind, f"an {kind}") for kind in self.types)
            raise Refused(400, "wrong_type", f"{self.name} is {_what(value)}; expected {wanted}", self.name)
        if self.choices and value not in self.choices:
            listed = ", ".join(map(str, self.choices))
            raise Refused(400, "wrong_value", f"{self.name} is {_what(value)}; expected one of {listed}", self.name)
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        if number is not None and not _between(self.least, number, self.most):
            bounds = f"{self.least:g} or more" if self.most is None else f"{self.least:g} to {self.most:g}"
            raise Refused(400, "wrong_value", f"{self.name} is {_what(value)}; expected {bounds}", self.name)

    def schema(self) -> dict[str, Any]:
        """For the OpenAPI document."""
        found: dict[str, Any] = {"type": list(self.types) if len(self.types) > 1 else self.types[0]}
        found["description"] = self.doc
        if self.choices:
            found["enum"] = list(self.choices)
        if self.items is not None:
            found["items"] = dict(self.items)
        bounds = {"minimum": self.least, "maximum": self.most}
        return {**found, **{name: value for name, value in bounds.items() if value is not None}}


def checked(
    fields: Sequence[Field], body: Mapping[str, Any], *, more: Sequence[str] = (), lenient: bool = False
) -> dict[str, Any]:
    """
    The fields of a body that are given, those that are null left out; `more` may be there too.

    Raises `Refused` for one that is unknown (naming the nearest that there is), missing, or of another type.
    """
    known = {field.name: field for field in fields}
    for name in body:
        if name not in known and name not in more and not lenient:
            like = nearest(name, [*known, *more])
            raise Refused(400, "unknown_field", f"there is no field {name[:80]}; {like}", name[:80])
    given = {name: value for name, value in body.items() if value is not None and (name in known or name in more)}
    for field in fields:
        if field.name in given:
            field.check(given[field.name])
        elif field.required:
            raise Refused(400, "missing", f"{field.name} is missing; {field.doc}", field.name)
    return given


def described(fields: Sequence[Field], answer: str, *, media: str = "application/json") -> dict[str, Any]:
    """The part of an OpenAPI operation that says what goes in; `answer` says what comes out."""
    properties = {field.name: field.schema() for field in fields}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    needed = [field.name for field in fields if field.required]
    schema |= {"required": needed} if needed else {}
    body = {"requestBody": {"required": True, "content": {media: {"schema": schema}}}} if fields else {}
    return {**body, "responses": answers(answer)}


def answers(answer: str) -> dict[str, Any]:
    """The answers of an operation; an error has the same shape everywhere."""
    error = {"content": {"application/json": {"schema": ERROR}}}
    said = {"4XX": "The request is refused, in a sentence.", "5XX": "The server is not able to."}
    return {
        "200": {"description": answer},
        **{status: {"description": words, **error} for status, words in said.items()},
    }


_TEXT = {"type": ["string", "null"]}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "param": _TEXT, "code": _TEXT},
        }
    },
}


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _what(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:57]}..."


def _between(least: float | None, number: float, most: float | None) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)
