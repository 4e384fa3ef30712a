"""A saved model of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anysize.cli.about.facts import About, as_object, bytes_on_disk, optional


def about_model(path: Path) -> About:
    """Its sizes and their bytes, and how it was made, from the manifest alone."""
    from anysize.core.errors import CheckpointError, SizeError
    from anysize.core.model.manifest import bytes_at, read_manifest
    from anysize.core.sizes.nesting import Nesting

    manifest = read_manifest(path)
    try:
        nesting = Nesting.from_json(manifest["nesting"])
        stored = {size: {"bytes_per_item": 4 * size.dims} if "dims" in size else {} for size in nesting}
        sizes = [{"size": str(size), **stored[size], "bytes_to_load": bytes_at(manifest, size)} for size in nesting]
        about, kind, made_by = manifest.get("about", {}), manifest["kind"], manifest["made_by"]
    except (KeyError, TypeError, IndexError, SizeError) as error:
        raise CheckpointError(f"{path / 'anysize.json'} is damaged or was changed by hand ({error!r})") from None
    measured = (path / "frontier.json").is_file()
    facts = {
        "kind": kind,
        "nesting": str(nesting),
        "made_by": made_by,
        "method": about.get("method"),
        "base": about.get("options", {}).get("model"),
        **(as_object(manifest["facts"]) if "facts" in manifest else _facts_of_older(path, manifest["config"])),
        **prompts(_settings_of_model(path, manifest)),
        "learnt_from": about.get("data", {}).get("name"),
        "measured": measured,
        "fingerprint": manifest.get("fingerprint"),
        "verified": "all files"
        if "files" in manifest
        else "the weights alone: saved before other files were recorded; load it and save it again",
        "bytes_on_disk": bytes_on_disk(path),
    }
    return About(path, "model", facts, sizes, f"anysize {'choose' if measured else 'measure'} {path} ...")


def _facts_of_older(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What a model that was saved before manifests said it would have said of itself."""
    from anysize.core.errors import CheckpointError
    from anysize.quantize.model.plan import Plan

    try:
        return {"codes": Plan.from_json(config).text()} if "quantization" in config else {}
    except CheckpointError as error:
        raise CheckpointError(f"{path / 'anysize.json'} was changed by hand: {error}") from None


def _settings_of_model(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Prompts as sentence-transformers writes them, of the encoder in a model of ours or beside it."""
    config = as_object(manifest.get("config"))
    config = as_object(as_object(config.get("inner")).get("config")) or config
    inside = as_object(config.get("encoder")) or config
    if "prompts" in inside:
        own = {"prompts": inside["prompts"], "default_prompt_name": inside.get("default_prompt")}
        return {**own, "instructions": config.get("instructions")}
    return optional(path / "encoder" / "config_sentence_transformers.json")


def prompts(saved: dict[str, Any]) -> dict[str, Any]:
    """What goes before texts, by name."""
    told = {**as_object(saved.get("prompts")), **as_object(saved.get("instructions"))}
    return {
        "prompts": "; ".join(f"{name}: {prompt!r}" for name, prompt in told.items() if prompt) or None,
        "default_prompt": saved.get("default_prompt_name"),
    }
