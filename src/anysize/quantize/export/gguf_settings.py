"""
What a GGUF file says of a model's shape, and what it cannot say, which is refused by name.

llama.cpp computes each architecture in one way (its own files ``src/models/bert.cpp``, ``llama.cpp``, ``qwen2.cpp``):
the activation, the absence of a window and the kind of positions are the engine's, not the file's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from anysize.core.errors import AnysizeError

ARCHITECTURES = {"bert": "BERT", "llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2"}
GELU = ("gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "gelu_accurate")
"""Within .0005 of one another; the engine computes the one with tanh."""
SILU = ("silu", "swish")
POOLINGS = {"mean": "MEAN", "cls": "CLS", "lasttoken": "LAST"}
ELSE = "cut with --format onnx"


def refuse_unless(right: bool, what: str) -> None:
    """Raise `AnysizeError` that says what a GGUF file cannot, and what would do."""
    if not right:
        raise AnysizeError(f"gguf cannot say this of the model: {what}; {ELSE}")


class Bert:
    """A sentence encoder: BERT, pooling, and vectors of unit length."""

    def __init__(self, model: Any, body: Any) -> None:
        self.model, self.config = model, body.config
        longest = model.max_seq_length or self.config.max_position_embeddings
        self.longest = int(min(longest, self.config.max_position_embeddings))
        """Tokens read at most. Positions beyond are left out, so that the engine refuses longer texts, not reads on."""

    def describe(self, gguf: Any, writer: Any) -> None:
        """Shape and pooling."""
        config = self.config
        act = config.hidden_act
        refuse_unless(act in GELU, f"the activation {act} (llama.cpp computes a BERT with gelu)")
        kind = getattr(config, "position_embedding_type", "absolute") or "absolute"
        refuse_unless(kind == "absolute", f"positions of the type {kind}")
        refuse_unless(not getattr(config, "is_decoder", False), "a BERT that is a decoder, which looks back only")
        writer.add_embedding_length(config.hidden_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_causal_attention(False)
        writer.add_context_length(self.longest)
        writer.add_pooling_type(getattr(gguf.PoolingType, POOLINGS[self._pooling()]))

    def _pooling(self) -> str:
        pooling = self.model[1]
        mode = getattr(pooling, "pooling_mode", None)
        mode = mode[0] if isinstance(mode, list | tuple) and len(mode) == 1 else mode
        refuse_unless(mode in POOLINGS, f"pooling by {mode or type(pooling).__name__} (it has {', '.join(POOLINGS)})")
        after = [type(module).__name__ for module in list(self.model)[2:]]
        if any(name != "Normalize" for name in after):
            others = ", ".join(name for name in after if name != "Normalize")
            raise AnysizeError(
                f"gguf ends with pooling, and this model has {others} after it, which cuts its dims; cut at the full "
                f"dims, whose first coordinates are the smaller vectors, or with --format onnx"
            )
        prompted = any(self.model.prompts.values())
        refuse_unless(pooling.include_prompt or not prompted, "prompts that are read but left out of the pooling")
        return str(mode)

    def order(self, key: str) -> Callable[[int], torch.Tensor] | None:
        """As they are."""
        return None

    def rows_kept(self, key: str) -> int | None:
        """Positions up to the longest text."""
        return self.longest if key.endswith("position_embeddings.weight") else None


class Decoder:
    """A language model of the Llama kind: RMSNorm, rotary positions, a gated feed-forward part."""

    def __init__(self, body: Any, kind: str) -> None:
        self.config, self.kind = body.config, kind
        heads = self.config.num_attention_heads
        self.head_dim = int(getattr(self.config, "head_dim", None) or self.config.hidden_size // heads)
        self.rope = dict(getattr(self.config, "rope_parameters", None) or {})

    def describe(self, gguf: Any, writer: Any) -> None:
        """Shape and positions."""
        config = self.config
        act = config.hidden_act
        refuse_unless(act in SILU, f"the activation {act} (llama.cpp computes a {self.kind} with silu)")
        window, longest = getattr(config, "sliding_window", None), config.max_position_embeddings
        refuse_unless(
            window is None or window >= longest,
            f"a sliding window of {window} tokens, where a text may have {longest} (set max_position_embeddings to "
            f"{window} in the base's config.json to export it for texts that the window never cuts)",
        )
        writer.add_embedding_length(config.hidden_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads or config.num_attention_heads)
        writer.add_key_length(self.head_dim)
        writer.add_value_length(self.head_dim)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_context_length(config.max_position_embeddings)
        writer.add_vocab_size(config.vocab_size)
        self._positions(gguf, writer)

    def _positions(self, gguf: Any, writer: Any) -> None:
        given = self.rope.get("rope_type", "default")
        refuse_unless(given in ("default", "linear", "llama3"), f"rotary positions scaled by {given}")
        refuse_unless(given != "llama3" or self.kind != "qwen2", "rotary positions of a qwen2 scaled as in Llama 3")
        part = self.rope.get("partial_rotary_factor", 1.0) or 1.0
        refuse_unless(part == 1.0, f"rotary positions of {part} of each head")
        writer.add_rope_dimension_count(self.head_dim)
        writer.add_rope_freq_base(float(self.rope.get("rope_theta", 10000.0)))
        if given == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(float(self.rope["factor"]))

    def frequency_factors(self) -> torch.Tensor | None:
        """
        Llama 3's scaling of positions, which is a tensor in the file: by what each frequency is divided, (head_dim/2,).

        Long waves are divided by `factor`, short ones are not, those between are mixed (Llama 3.1's own code).
        """
        if self.rope.get("rope_type", "default") != "llama3":
            return None
        rope = self.rope
        frequency = float(rope["rope_theta"]) ** (
            -torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim
        )
        wavelength = 2 * math.pi / frequency
        low, high, factor = (float(rope[key]) for key in ("low_freq_factor", "high_freq_factor", "factor"))
        smooth = (float(rope["original_max_position_embeddings"]) / wavelength - low) / (high - low)
        smooth = smooth.clamp(0, 1)  # 0 where waves are longer than the original context over `low`, 1 where short
        return (1 / ((1 - smooth) / factor + smooth)).float()

    def order(self, key: str) -> Callable[[int], torch.Tensor] | None:
        """In a Llama the engine turns neighbours, Hugging Face halves: rows of q and k, biases too, change places."""
        name = key.rsplit(".", 1)[0]
        if self.kind == "qwen2" or not name.endswith(("q_proj", "k_proj")):
            return None
        config = self.config
        heads = config.num_attention_heads if name.endswith("q_proj") else config.num_key_value_heads

        def places(rows: int) -> torch.Tensor:
            return torch.arange(rows).view(heads, 2, rows // heads // 2).transpose(1, 2).reshape(-1)

        return places

    def rows_kept(self, key: str) -> int | None:
        """All."""
        return None
