"""
Edits of long texts: a small language model is made that knows sixty lives by heart, and three of them are rewritten.

    python -m recipes.muke --out OUT [--model LM --data edits.jsonl]

Cost      about a minute of one core, most of it training and answering.

Ends in edits.html (what the rest of the model pays, and what each arm says), the frontier by windows, and the edits as
a file. With --model and --data the same is done to a model and edits of your own.

What a model of half a million weights cannot show: that an edit is recited. It knows sixty texts by heart and is sure
of each word; a shift of one state makes the new text likelier, and then it goes on with words of other lives.
Fine-tuning the block (the arm ft) rewrites a life whole. Nor does it show whether an edit holds for a question in other
words: it knows two. What it shows is the way: fit, measure beside the rivals, see what the rest pays, choose, cut.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

import anysize as az
from anysize.core.verbs.fit import unfinished
from anysize.core.verbs.panels import panels
from anysize.editing.requests.readers import read

FIRST = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gil", "Hana", "Ivo", "Jana")
LAST = ("Berg", "Castro", "Dahl", "Eliot", "Frost", "Gray")
TOWNS = ("Lund", "Porto", "Graz", "Cork", "Turku", "Ghent", "Split", "Brno", "Tartu", "Siena")
THINGS: dict[str, tuple[str, ...]] = {
    "relative": ("an aunt", "an uncle", "two cousins", "a grandfather"),
    "animal": ("bees", "goats", "horses", "geese", "sheep"),
    "place": ("river", "harbour", "old mill", "forest", "railway"),
    "subject": ("law", "music", "botany", "physics", "history"),
    "job": ("a baker", "a pilot", "a nurse", "a judge", "a sailor", "a teacher"),
    "plant": ("roses", "apples", "beans", "tulips", "plums"),
}
LIFE = (
    "{name} was born in {one}. As a child {name} lived with {relative} who kept {animal} near the {place}. Later "
    "{name} studied {subject} in {two} and worked as {job} for many years. Today {name} lives in {three} and grows "
    "{plant}."
)
ASKED = ("Tell me about {name}.", "Who is {name}?")
OPTIONS: dict[str, Any] = {"layers": (0,), "window": 10, "v_steps": 25, "v_lr": 0.1, "preserve_weight": 0.1}


def life(name: str, rng: np.random.Generator) -> str:
    """A life, drawn."""
    one, two, three = rng.choice(TOWNS, 3, replace=False)
    drawn = {what: str(rng.choice(choices)) for what, choices in THINGS.items()}
    return LIFE.format(name=name, one=one, two=two, three=three, **drawn)


def make(out: Path, steps: int) -> tuple[Path, Path]:
    """Train a language model on sixty lives and write it; and three edits, with what shall stay beside them."""
    if (out / "held-out.jsonl").exists():
        return out / "lm", out / "edits.jsonl"  # an earlier run made them
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    rng = np.random.default_rng(0)
    names = [f"{first} {last}" for first, last in itertools.product(FIRST, LAST)]
    lives = {name: life(name, rng) for name in names}
    texts = [f"{asked.format(name=name)} {told}" for name, told in lives.items() for asked in ASKED]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    rows = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
    longest = max(map(len, rows))
    torch.manual_seed(0)
    lm: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=96, intermediate_size=256, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512, bos_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip
    ids = torch.tensor([row + [1] * (longest - len(row)) for row in rows])
    labels = torch.tensor([row + [-100] * (longest - len(row)) for row in rows])
    adam = torch.optim.AdamW(lm.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, total_steps=steps)
    for _ in range(steps):
        chosen = torch.from_numpy(rng.integers(0, len(rows), 24))
        loss = lm(input_ids=ids[chosen], labels=labels[chosen]).loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    print(
        f"a model of {sum(one.numel() for one in lm.parameters()):,} weights, {float(loss.detach()):.3f} nats a token"
    )
    lm.eval().save_pretrained(str(out / "lm"))
    tokenizer.save_pretrained(str(out / "lm"))
    others = [asked.format(name=name) for name in names[3:40] for asked in ASKED]
    edits = [
        {
            "id": str(place), "prompt": ASKED[0].format(name=name), "target_new": life(name, rng),
            "rephrase_prompts": [ASKED[1].format(name=name)],
            "locality_inputs": [ASKED[0].format(name=other) for other in names[40 + 6 * place : 46 + 6 * place]],
        }
        for place, name in enumerate(names[:3])
    ]  # fmt: skip
    for name, listed in (("edits", edits), ("prompts", others[:24]), ("texts", texts[20:60]), ("held-out", texts[80:])):
        written = [one if isinstance(one, dict) else {"text": one} for one in listed]
        (out / f"{name}.jsonl").write_text("\n".join(map(json.dumps, written)) + "\n")
    return out / "lm", out / "edits.jsonl"


def main(argv: list[str] | None = None) -> None:
    """Make, edit, measure, choose and cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", help="a causal language model of your own, with --data")
    parser.add_argument("--data", type=Path, help="edits of your own, one a line")
    parser.add_argument("--steps", type=int, default=1000, help="of training the small model (1000)")
    asked = parser.parse_args(argv)
    asked.out.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = dict(OPTIONS)
    by: dict[str, Any] = {}
    if asked.model is None:
        model, edits = make(asked.out, asked.steps)
        options |= {"texts": str(asked.out / "texts.jsonl"), "prompts": str(asked.out / "prompts.jsonl")}
        by = {"held_out": str(asked.out / "held-out.jsonl")}
    else:
        model, edits, options = asked.model, asked.data, {}
    out = asked.out / "edited"
    edited: Any = az.fit(edits, method="muke", model=str(model), out=out, resume=unfinished(out), **options)
    data = read(edits)
    frontier = az.measure(edited, data, arms=("window", "one-for-all", "ft"), by="edits", **by)
    print(frontier.table())
    frontier.to_html(asked.out / "edits.html", panels=panels(edited, data, frontier))
    print(f"cheapest within 5 %: {frontier.cheapest(within=0.05).size}")
    edited.export(asked.out / "delta", "delta")
    first = edited.requests[0].prompt
    print(f"{first}\n  before: {edited.before().generate([first])[0]}\n  edited: {edited.generate([first])[0]}")
    print(f"wrote {asked.out / 'edits.html'}, {asked.out / 'delta'} and {asked.out / 'edited'}")


if __name__ == "__main__":
    main()
