"""From a manifest of clips to a recogniser at every rate, by the commands as they are typed."""

import json

import pytest

from anysize.cli.main import main as program
from anysize.core.data.read import read
from anysize.core.errors import AnysizeError, DataError, SizeError
from anysize.core.verbs.fit import fit
from anysize.core.verbs.load import load
from anysize.core.verbs.measure import measure
from tests.tiny_speech import write_bases, write_clips

RATES = {"audio_rates": (4, 16), "video_rates": (2, 5)}


def main(words):
    with pytest.raises(SystemExit) as end:
        program(words)
    return end.value.code


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    write_clips(folder, 12)
    sound, lm = write_bases(folder)
    return folder, {"encoder": str(sound), "lm": str(lm)}


def test_the_commands_of_the_docs_run_as_typed(place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(place[0])
    out = str(tmp_path / "ear")
    words = "fit clips.jsonl --method mtsk --audio-rates 4,16 --video-rates 2,5 --strategy ss --encoder whisper --lm lm"
    assert main([*words.split(), "--epochs", "30", "--batch-size", "6", "--learning-rate", "0.02", "--out", out]) == 0
    page = tmp_path / "ear.html"
    assert main(["measure", out, "clips.jsonl", "--html", str(page), "--arms", "single,free"]) == 0
    assert "audio=1/16" in page.read_text()
    assert "2 clips at each size, from the fewest errors to the most" in page.read_text()
    said = capsys.readouterr().out
    assert "wer" in said
    assert main(["choose", out, "--within", "5%"]) == 0
    assert main(["cut", out, "--size", "audio=1/16,video=1/5", "--out", str(tmp_path / "small")]) == 0
    capsys.readouterr()
    assert main(["run", out, "0.wav", "0.mkv", "--size", "audio=1/16,video=1/5"]) == 0
    whole = capsys.readouterr()
    assert main(["run", str(tmp_path / "small"), "0.wav", "0.mkv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == whole.out.strip()
    assert (
        "0.5 seconds of speech, 16 frames an audio token, 2 audio tokens, 5 frames a video token, 3 video tokens"
        in whole.err
    )
    alone = str(tmp_path / "alone")
    assert main(["cut", out, "--size", "audio=1/16,video=1/5", "--format", "adapters", "--out", alone]) == 0
    assert f"it stands on the language model {place[0] / 'lm'}" in capsys.readouterr().out
    assert main(["run", alone, "0.wav", "0.mkv"]) == 0
    assert capsys.readouterr().out == whole.out
    assert main(["run", out, "clips.jsonl", "--out", str(tmp_path / "said.jsonl")]) == 0
    rows = [json.loads(line)["output"] for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert main(["run", out, ".", "--out", str(tmp_path / "folder.jsonl")]) == 0
    named = {one["id"]: one["output"] for one in map(json.loads, (tmp_path / "folder.jsonl").read_text().splitlines())}
    assert [named[str(place)] for place in range(len(rows))] == rows
    wanted = [json.loads(line)["text"] for line in (place[0] / "clips.jsonl").read_text().splitlines()]
    assert sum(said == text for said, text in zip(rows, wanted, strict=True)) >= 9  # 10 were learnt


def test_a_run_that_was_stopped_gives_what_an_undisturbed_one_gives(place, tmp_path):
    from anysize.core.training import trainer

    folder, bases = place
    given = {**RATES, **bases, "method": "mtsk", "epochs": 4.0, "batch_size": 4, "strategy": "mss", "draw": "random"}
    whole = fit(folder / "clips.jsonl", out=tmp_path / "whole", **given)

    class StoppedError(Exception):
        """Somebody stopped it."""

    run = trainer.run_watched

    def stopping(*rest, **more):
        def after(step):
            if step == 5:
                raise StoppedError

        return run(*rest, **{**more, "after_step": after})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "run_watched", stopping)
        with pytest.raises(StoppedError):
            fit(folder / "clips.jsonl", out=tmp_path / "again", **given)
    again = fit(folder / "clips.jsonl", out=tmp_path / "again", resume=True, **given)
    assert again.fingerprint == whole.fingerprint == load(tmp_path / "whole").fingerprint


def test_sound_alone_from_a_folder_with_metadata_and_splits(place, tmp_path):
    folder, bases = place
    rows = [json.loads(line) for line in (folder / "clips.jsonl").read_text().splitlines()]
    audio = tmp_path / "audio"
    audio.mkdir()
    lines = ["file_name,transcription,split,corpus"]
    for place_, row in enumerate(rows):
        (audio / row["audio"]).write_bytes((folder / row["audio"]).read_bytes())
        lines.append(f"{row['audio']},{row['text']},{'test' if place_ < 4 else 'train'},{'ab'[place_ % 2]}")
    (audio / "metadata.csv").write_text("\n".join(lines))
    made = fit(audio, method="mtsk", audio_rates=(4,), epochs=1.0, batch_size=4, **bases)
    assert made.about["rows"] == 8
    assert str(made.nesting.full) == "audio=1/4"
    frontier = measure(made, audio)
    assert "4 clips held out" in frontier.meta["task"]
    assert frontier.records[0].metrics.keys() >= {"wer", "cer", "wer_a", "wer_b", "real_time_factor"}


def test_what_cannot_be_learnt_is_refused(place, tmp_path):
    folder, bases = place
    with pytest.raises(SizeError, match="name the rates with --audio-rates"):
        fit(folder / "clips.jsonl", method="mtsk", **bases)
    with pytest.raises(AnysizeError, match="name what hears with --encoder"):
        fit(folder / "clips.jsonl", method="mtsk", lm=bases["lm"], **RATES)
    with pytest.raises(AnysizeError, match="name the language model that writes with --lm"):
        fit(folder / "clips.jsonl", method="mtsk", encoder=bases["encoder"], **RATES)
    with pytest.raises(DataError, match="mtsk needs audio, video, text, or audio, text"):
        fit(["a", "b"], method="mtsk", **bases, **RATES)
    lost = folder / "lost.jsonl"
    lost.write_text((folder / "clips.jsonl").read_text() + '\n{"audio": "99.wav", "video": "0.mkv", "text": "one"}')
    with pytest.raises(DataError, match=r"there is no file '99.wav'"):
        read(lost)
    lost.write_text(lost.read_text().replace('"0.wav"', '"88.wav"').replace('"1.mkv"', '"87.mkv"'))
    with pytest.raises(DataError, match=r"^3 of 25 files are not there: '88.wav' \(.*lost.jsonl line 1\), '87.mkv' "):
        read(lost)
