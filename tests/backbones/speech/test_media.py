"""Sounds and films of every form that people have, and what is said of those that are none."""

import numpy as np
import pytest

from anysize.backbones.speech.media import film, has_sound, sound
from anysize.core.errors import DataError
from tests.tiny_speech import RATE, noise, write_film, write_wav


def tone(seconds, rate):
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize(("rate", "width", "channels"), [(16000, 2, 1), (8000, 2, 1), (44100, 3, 2), (48000, 4, 1)])
def test_a_tone_sounds_the_same_from_any_file(tmp_path, rate, width, channels):
    found = sound(write_wav(tmp_path / "a.wav", tone(1.0, rate), rate, width=width, channels=channels), RATE)
    assert abs(len(found) - RATE) < 40
    assert found.dtype == np.float32
    inner = slice(1000, 15000)  # the ends ring where a rate is changed
    spectrum = np.abs(np.fft.rfft(found[inner] * np.hanning(14000)))
    assert np.fft.rfftfreq(14000, 1 / RATE)[spectrum.argmax()] == pytest.approx(440, abs=1.2)
    assert found[inner].std() == pytest.approx(0.5 / 2**0.5, rel=0.02)


def test_silence_bytes_and_arrays_are_sounds(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(800, np.float32))
    assert sound(path, RATE).tolist() == [0.0] * 800
    assert sound(path.read_bytes(), RATE).tolist() == [0.0] * 800
    given = noise(0.1)
    assert np.array_equal(sound(given, RATE), given)


def test_frames_are_those_shown_at_each_moment(tmp_path):
    frames = np.arange(50, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8) * 4
    found = film(write_film(tmp_path / "a.mkv", frames, rate=50), 25)
    assert found.seconds == pytest.approx(1.0)
    assert found.frames.shape == (25, 8, 8, 3)
    assert found.frames[:, 0, 0, 0].tolist() == frames[1::2, 0, 0].tolist()  # half way through each 1/25 s
    same = film(write_film(tmp_path / "b.mkv", frames[:10], rate=25), 25)
    assert np.array_equal(same.frames[..., 0], frames[:10])
    assert np.array_equal(film(frames, 25).frames[..., 1], frames)
    assert not has_sound(tmp_path / "a.mkv")


def test_what_is_no_sound_or_film_is_refused_in_a_sentence(tmp_path):
    whole = write_wav(tmp_path / "a.wav", noise(1.0)).read_bytes()
    (tmp_path / "short.wav").write_bytes(whole[:9000])
    (tmp_path / "text.wav").write_text("no sound")
    write_wav(tmp_path / "none.wav", np.zeros(0, np.float32))
    write_film(tmp_path / "a.mkv", np.zeros((5, 8, 8), np.uint8))
    for name, words in (
        ("short.wav", "says that it has 32,044 bytes and has 9,000; it was cut short"),
        ("text.wav", "cannot be read as a sound"),
        ("none.wav", "0 seconds"), ("a.mkv", "has no sound"), ("nothere.wav", "is not there"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            sound(tmp_path / name, RATE)
    with pytest.raises(DataError, match="has no pictures"):
        film(tmp_path / "a.wav", 25)
    with pytest.raises(DataError, match="is no sound; expected finite floats"):
        sound(np.array([np.nan]), RATE)
    with pytest.raises(DataError, match=r"is no film; expected uint8"):
        film(np.zeros((2, 8, 8)), 25)
    with pytest.raises(DataError, match="expected a file, its bytes or an array"):
        sound(3, RATE)
