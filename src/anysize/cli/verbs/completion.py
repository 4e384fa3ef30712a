"""``anysize completion``: the script with which a shell completes verbs, options and their values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from anysize.cli.options import Positional


@dataclass
class Completion:
    """
    Print the script that makes a shell complete verbs, options, methods' own options and their values.

    For bash a line in ~/.bashrc, for zsh one in ~/.zshrc (after compinit), for fish a command to type once:

      eval "$(anysize completion bash)"
      eval "$(anysize completion zsh)"
      anysize completion fish > ~/.config/fish/completions/anysize.fish
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], Positional("SHELL")]
    """bash, zsh or fish."""
    words: Annotated[list[str], Positional("WORDS")] = field(default_factory=list)
    """After --, in place of the script: the words of a command line, whose last is to be completed. The script does
    this."""

    def run(self) -> Lines:
        """Choose the script, or complete."""
        from anysize.cli.completing import SCRIPTS, candidates

        if self.words:
            return Lines(candidates(self.words))
        return Lines(SCRIPTS[self.shell].strip().splitlines())


@dataclass(frozen=True)
class Lines:
    """Lines for a shell."""

    lines: list[str]

    def text(self) -> str:
        """As they are."""
        return "\n".join(self.lines)

    def to_json(self) -> list[str]:
        """A list of them."""
        return self.lines
