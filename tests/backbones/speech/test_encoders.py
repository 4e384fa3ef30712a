"""Encoders make frames of each sound and film by itself, at the rate they say, and as transformers does."""

import numpy as np
import pytest
import torch

from anysize.backbones.speech.encoders import PixelFrames, SoundEncoder
from anysize.core.errors import AnysizeError
from tests.tiny_speech import film, noise, tiny_lm, tiny_vit, tiny_wav2vec, tiny_whisper, write_bases


@pytest.mark.parametrize("make", [tiny_whisper, tiny_wav2vec], ids=["whisper", "wav2vec"])
def test_a_sound_gives_the_same_frames_in_any_company(make):
    torch.manual_seed(0)
    encoder, sounds = make(), [noise(seconds, seed) for seed, seconds in enumerate((1.0, 0.05, 3.1))]
    with torch.no_grad():
        together, alone = encoder(sounds), [encoder([one])[0] for one in sounds]
    for one, other, heard in zip(together, alone, sounds, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        expected = max(len(heard) / 16000, 0.1 if not encoder.windows else 0.0) * encoder.frame_rate
        assert abs(len(one) - expected) <= 2
        assert one.shape[1] == encoder.width == 16


def test_whisper_hears_window_by_window_what_is_longer_than_its_own():
    torch.manual_seed(0)
    encoder, heard = tiny_whisper(), noise(3.0)
    with torch.no_grad():
        frames = encoder([heard])[0]
        first = encoder.prepare(heard[:32000], sampling_rate=16000, padding="max_length", max_length=32000,
                                return_tensors="pt")["input_features"]  # fmt: skip
        plain = encoder.model(first).last_hidden_state[0]
        torch.testing.assert_close(frames[:100], plain, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(frames[100:], encoder([heard[32000:]])[0], atol=1e-5, rtol=1e-4)
    assert len(frames) == 150


def test_frames_are_seen_one_by_one():
    torch.manual_seed(0)
    encoder = tiny_vit()
    seen = np.repeat(film(0.4)[..., None], 3, 3)
    with torch.no_grad():
        found = encoder([seen, seen[3:5]])
        pixels = encoder.prepare([seen[4]], return_tensors="pt")["pixel_values"]
        expected = encoder.model(pixels).last_hidden_state[0].mean(0)
    torch.testing.assert_close(found[0][4], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1][1], expected, atol=1e-5, rtol=1e-4)
    small = PixelFrames(2)([seen])[0].numpy()
    means = seen[..., 0].reshape(10, 2, 8, 2, 8).mean((2, 4)).reshape(10, 4)
    assert np.abs(small - (means - means.mean()) / means.std(ddof=1)).max() < 1e-5


def test_whisper_is_opened_without_its_decoder_and_other_models_are_refused(tmp_path):
    sound, lm = write_bases(tmp_path)
    assert not [name for name, _ in SoundEncoder.open(sound).named_parameters() if "decoder" in name]
    with pytest.raises(AnysizeError, match="cannot load the encoder of sound"):
        SoundEncoder.open(lm)
    with pytest.raises(AnysizeError, match="a model of type 'llama' is no encoder of sound"):
        SoundEncoder(tiny_lm())
