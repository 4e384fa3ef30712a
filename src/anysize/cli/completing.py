"""
What may stand in place of the last word of a command line, and the scripts with which shells ask for it.

Not shtab: its scripts are fixed when they are made, and here the options of ``fit`` depend on the method typed before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from anysize.cli.options import Option, options
from anysize.core.errors import AnysizeError

SCRIPTS = {
    "bash": r"""
_anysize() {
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" completion bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _anysize anysize
""",
    "zsh": r"""
_anysize() {
    local -a found
    found=("${(@f)$("${words[1]}" completion zsh -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then compadd -Q -- "${found[@]}"; else _files; fi
}
compdef _anysize anysize
""",
    "fish": r"""
function __anysize_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l found (command $before[1] completion fish -- $before[2..] "$current" 2>/dev/null)
    if test -n "$found"
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c anysize -f -a '(__anysize_complete)'
""",
}
"""Each asks ``anysize completion`` itself, so that methods that are installed later are completed too; where that says
nothing, the shell completes names of files."""

_GROUPS = {"method": "methods", "by": "evaluators"}
"""Options whose values are names in a registry."""


def candidates(words: Sequence[str]) -> list[str]:
    """What may stand in place of the last of the words after ``anysize``; nothing where that is the name of a file."""
    from anysize.cli.main import VERBS

    *before, current = _joined(words) or [""]
    if not before:
        return _beginning(current, [*VERBS, "--help", "--version"])
    if before[0] not in VERBS:
        return []
    known = _options(before[0], before[1:])
    named = {name: one for one in known if not one.positional for name in (one.name, one.short) if name}
    if "--" not in before and before[-1] in named and named[before[-1]].kind is not bool:
        return _beginning(current, _values(named[before[-1]]))
    name, equals, value = current.partition("=")
    if equals and name in named:
        return [f"{name}={one}" for one in _beginning(value, _values(named[name]))]
    if current.startswith("-") and "--" not in before:
        given = {word.partition("=")[0] for word in before}
        free = [one.name for one in named.values() if one.several or not given & {one.name, one.short}]
        return _beginning(current, [*dict.fromkeys([*free, "--json", "--help"])])
    return _beginning(current, [choice for one in known if one.positional for choice in one.choices])


def _joined(words: Sequence[str]) -> list[str]:
    """The words with ``--name=value`` as one word, which bash hands over in three."""
    joined: list[str] = []
    for word in words:
        if joined and (word == "=" or joined[-1].endswith("=")) and joined[-1].startswith("--"):
            joined[-1] += word
        else:
            joined.append(word)
    if len(joined) > 1 and joined[-1].startswith("--") and "=" in joined[-1] and "=" in words:
        return [*joined[:-1], *joined[-1].split("=", 1)]  # and of which it replaces the last
    return joined


def _options(verb: str, words: list[str]) -> tuple[Option, ...]:
    from anysize.cli.main import command_of

    with contextlib.suppress(AnysizeError):
        return options(command_of(verb, words))
    return options(command_of(verb, []))  # the method is unknown, or not yet typed


def _values(option: Option) -> list[str]:
    from anysize.core.registry import names

    return list(option.choices) if option.choices else names(_GROUPS[option.field]) if option.field in _GROUPS else []


def _beginning(start: str, known: Sequence[str]) -> list[str]:
    return [one for one in known if one.startswith(start)]
