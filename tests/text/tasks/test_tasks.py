import json

import numpy as np
import pytest
import torch

import anysize as az
from anysize.backbones.sentence import Encoder
from anysize.core.data.read import read
from anysize.core.errors import AnysizeError, CheckpointError, DataError, SizeError
from anysize.core.model.manifest import MANIFEST
from anysize.core.training.trainer import TrainingPlan
from anysize.core.verbs.rivals import rival
from anysize.testing import check_nested_model
from anysize.text import TaskEncoder, TaskLoRA, Tasks
from anysize.text.tasks.adapters import TASKS
from anysize.text.tasks.data import read_task_sets
from anysize.text.tasks.sampling import PlannedBatches
from anysize.text.tasks.training import Column, TaskTraining, train_adapters
from tests.conftest import WIDTH, WORDS, flips, sentences, undigested, write_pairs
from tests.core.verbs.test_fit import at_step
from tests.evaluation.measured import measured
from tests.processes import die, killed

TEXTS = [*sentences(6), "", "balan"]
MIXED = [TASKS[place % 5] for place in range(len(TEXTS))]


@pytest.fixture
def untrained(encoder_path):
    return TaskLoRA(str(encoder_path), dims=(8, 16, WIDTH), instructions={})


@pytest.fixture
def model(encoder_path):
    """Five adapters that each do something else."""
    made = TaskLoRA(str(encoder_path), dims=(8, 16, WIDTH))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for weight in made.adapters.weights().values():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return made


def write_scored(path, count=40):
    both = zip(sentences(count), sentences(count, 5), strict=True)
    rows = [{"sentence1": one, "sentence2": other, "score": place % 5} for place, (one, other) in enumerate(both)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def write_labelled(path, count=60, labels=6):
    """Texts whose label is a word that they hold."""
    rows = [{"text": f"{WORDS[place % labels]} {text[:6]}", "label": f"c{place % labels}"}
            for place, text in enumerate(sentences(count, 3))]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def given(tmp_path):
    """One data set for each task, as the command line names them."""
    return [
        f"retrieval={write_pairs(tmp_path / 'pairs.jsonl', count=60)}",
        f"text-matching={write_scored(tmp_path / 'scored.jsonl')}",
        f"classification={write_labelled(tmp_path / 'labelled.jsonl')}",
        f"separation={tmp_path / 'labelled.jsonl'}",
    ]


# Running


def test_untrained_adapters_change_nothing(untrained, encoder_path):
    plain = Encoder(str(encoder_path)).model.encode(TEXTS, normalize_embeddings=True)
    for task in TASKS:
        np.testing.assert_allclose(untrained.encode(TEXTS, task=task), plain, atol=1e-6)
    np.testing.assert_allclose(untrained.encode(TEXTS, task=MIXED), plain, atol=1e-6)


def test_every_linear_layer_and_the_table_are_adapted_with_the_paper_s_initial_values(untrained):
    names = {name.rpartition(".")[2] for name in untrained.adapters.layers}
    assert names == {"query", "key", "value", "dense", "word_embeddings"}
    assert len(untrained.adapters.layers) == 2 * 6 + 1
    per_layer = 4 * (4 * 2 * WIDTH + 2 * (WIDTH + 64))
    assert untrained.adapters.parameters_of_one() == 4 * (len(WORDS) + 5 + WIDTH) + 2 * per_layer
    for name, weight in untrained.adapters.weights("separation").items():
        zero = name.endswith(("lora_B.weight", "lora_embedding_A"))
        assert bool((weight == 0).all()) == zero, name
    for layer in untrained.adapters.layers.values():
        assert set(layer.scaling.values()) == {0.25}


def test_rows_of_one_batch_run_through_their_own_adapters(model):
    mixed = model.encode(TEXTS, task=MIXED)
    each = {task: model.encode(TEXTS, task=task) for task in TASKS}
    for row, task in enumerate(MIXED):
        np.testing.assert_allclose(mixed[row], each[task][row], atol=1e-5)
    assert min(np.abs(each[one] - each[other]).max() for one in TASKS for other in TASKS if one != other) > 1e-2
    same = [TEXTS[0]] * 5
    np.testing.assert_allclose(model.encode(same, task=list(TASKS)), [each[task][0] for task in TASKS], atol=1e-5)


def test_adapters_are_the_low_rank_sum_of_the_paper(model, encoder_path):
    """Against W + (alpha / r) B A written into a plain copy of the model."""
    plain = Encoder(str(encoder_path)).model
    state = plain[0].auto_model.state_dict()
    for name, layer in model.adapters.layers.items():
        if hasattr(layer.get_base_layer(), "in_features"):
            a, b = layer.lora_A["classification"].weight, layer.lora_B["classification"].weight
            state[f"{name}.weight"] += 0.25 * (b @ a).detach()
        else:
            a, b = layer.lora_embedding_A["classification"], layer.lora_embedding_B["classification"]
            state[f"{name}.weight"] += 0.25 * (b @ a).T.detach()
    found = plain.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(model.encode(TEXTS, task="classification"), found, atol=1e-5)


def test_queries_and_documents_have_their_own_task_and_instruction(model, encoder_path):
    np.testing.assert_array_equal(model.encode_query(TEXTS), model.encode(TEXTS, task="retrieval.query"))
    np.testing.assert_array_equal(model.encode_document(TEXTS), model.encode(TEXTS, task="retrieval.passage"))
    told = TaskLoRA(str(encoder_path), instructions={"retrieval.query": "bador: "})
    plain = Encoder(str(encoder_path)).model
    np.testing.assert_allclose(
        told.encode_query(TEXTS), plain.encode([f"bador: {text}" for text in TEXTS], normalize_embeddings=True),
        atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(told.encode_document(TEXTS), plain.encode(TEXTS, normalize_embeddings=True), atol=1e-5)


def test_cuts_before_it_normalises(model):
    full = model.features(TEXTS, task="separation")
    cut = model.encode(TEXTS, task="separation", truncate_dim=8)
    np.testing.assert_allclose(cut, full[:, :8] / np.linalg.norm(full[:, :8], axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(cut, model.at(dims=8).for_task("separation").encode(TEXTS))


def test_each_text_of_a_task_is_run_once(model, monkeypatch):
    ran = []
    vectors = TaskEncoder.vectors
    monkeypatch.setattr(TaskEncoder, "vectors", lambda self, texts, tasks: ran.extend(zip(texts, tasks, strict=True))
                        or vectors(self, texts, tasks))  # fmt: skip
    found = model.encode(["balan", "demer", "balan"] * 4, task=["separation", "separation", "classification"] * 4)
    assert sorted(ran) == [("balan", "classification"), ("balan", "separation"), ("demer", "separation")]
    assert found.shape == (12, WIDTH)


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda model: model.encode(TEXTS), AnysizeError, "say which task .* retrieval.query, retrieval.passage"),
        (lambda model: model.encode(TEXTS, task="poetry"), AnysizeError, "no adapter for 'poetry'; it has: retrieval"),
        (lambda model: model.encode(TEXTS, task=["separation"]), AnysizeError, "1 tasks for 8 texts"),
        (lambda model: model.encode("text", task="separation"), DataError, "list of texts"),
        (lambda model: model.encode(TEXTS, task="separation", truncate_dim=9), SizeError, "8, 16, 32"),
        (lambda model: model.at(dims=8).convert(), AnysizeError, "say which task"),
        (
            lambda model: rival(model, "single", None),
            AnysizeError,
            "no rival called 'single'",
        ),
    ],
)
def test_what_cannot_be_answered_is_said(model, ask, error, words):
    with pytest.raises(error, match=words):
        ask(model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tasks": ["poetry"]}, "no task is called 'poetry'; there are: retrieval.query"),
        ({"tasks": ["separation", "separation"]}, "listed twice"),
        ({"tasks": []}, "no task is named"),
        ({"dims": (8, 64)}, "dims=64 exceeds the model"),
        ({"r": 0}, "at least 1"),
        ({"target_modules": "nothing"}, "no layer of the transformer is called 'nothing'"),
        ({"instructions": {"poetry": "x"}}, "no task is called 'poetry'"),
    ],
)
def test_what_cannot_be_made_is_refused(encoder_path, options, words):
    with pytest.raises((AnysizeError, SizeError), match=words):
        TaskLoRA(str(encoder_path), **options)


def test_chosen_modules_alone_are_adapted(encoder_path):
    made = TaskLoRA(str(encoder_path), ["separation"], target_modules=("query", "value"), embedding=True)
    assert len(made.adapters.layers) == 4
    assert {name.rpartition(".")[2] for name in made.adapters.layers} == {"query", "value"}


# The contract of a nested model


def test_keeps_every_promise_of_a_nested_model(model):
    check_nested_model(model.for_task("separation"), {"texts": TEXTS[:5], "task": MIXED[:5]},
                       shape=lambda size: (5, size.dims), items=TEXTS[:5])  # fmt: skip


def test_saves_and_loads_without_running_code(model, tmp_path):
    model.save(tmp_path / "saved")
    loaded = az.load(tmp_path / "saved")
    assert isinstance(loaded, TaskEncoder)
    np.testing.assert_array_equal(loaded.encode(TEXTS, task=MIXED), model.encode(TEXTS, task=MIXED))
    assert (loaded.tasks, loaded.instructions, loaded.lora) == (model.tasks, model.instructions, model.lora)
    assert loaded.fingerprint == model.fingerprint
    kinds = {path.suffix for path in (tmp_path / "saved").rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}


def test_each_adapter_is_a_folder_that_peft_loads(model, tmp_path):
    import warnings

    import peft
    from sentence_transformers import SentenceTransformer

    model.save(tmp_path / "saved")
    for task in TASKS:
        base = SentenceTransformer(str(tmp_path / "saved" / "base"), device="cpu")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            base[0].model = peft.PeftModel.from_pretrained(
                base[0].auto_model, str(tmp_path / "saved" / "adapters" / task)
            ).eval()
        found = base.encode([model.prompt_of(task) + text for text in TEXTS], normalize_embeddings=True)
        np.testing.assert_allclose(found, model.encode(TEXTS, task=task), atol=1e-6)


def test_one_task_cut_out_loads_without_anysize_or_peft(model, tmp_path):
    from sentence_transformers import SentenceTransformer

    for task, dims in (("retrieval.query", 8), ("classification", WIDTH)):
        model.for_task(task).at(dims=dims).convert().save(str(tmp_path / task), create_model_card=False)
        small = SentenceTransformer(str(tmp_path / task), device="cpu")
        assert not any("lora" in name for name in small.state_dict())
        np.testing.assert_allclose(small.encode(TEXTS), model.encode(TEXTS, task=task, truncate_dim=dims), atol=1e-5)


def test_the_command_line_cuts_a_task_out(model, tmp_path, anysize):
    from sentence_transformers import SentenceTransformer

    model.save(tmp_path / "saved")
    words = ["cut", tmp_path / "saved", "--size", "dims=8", "--out", tmp_path / "small"]
    anysize(*words).refused("say which task", "text-matching")
    assert anysize(*words, "--task", "separation").status == 0
    found = SentenceTransformer(str(tmp_path / "small"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found, model.encode(TEXTS, task="separation", truncate_dim=8), atol=1e-5)


def test_another_base_under_the_adapters_is_refused(model, tmp_path):
    from safetensors.torch import load_file, save_file

    model.save(tmp_path / "saved")
    file = tmp_path / "saved" / "base" / "model.safetensors"
    weights = load_file(file)
    weights[next(name for name in weights if "query.weight" in name)][0, 0] += 1
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="was altered"):
        az.load(tmp_path / "saved")


@pytest.mark.parametrize("file", ["base/model.safetensors", "weights.safetensors"])
@pytest.mark.parametrize(("change", "words"), [("less", "lacks"), ("more", "holds .*strange")])
def test_a_tensor_too_few_or_too_many_is_refused(model, tmp_path, file, change, words):
    from safetensors.torch import load_file, save_file

    model.save(tmp_path / "saved")
    weights = load_file(undigested(tmp_path / "saved") / file)
    if change == "less":
        del weights[min(weights)]
    else:
        weights["strange"] = torch.zeros(3)
    save_file(weights, tmp_path / "saved" / file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"{file} .*{words}"):
        az.load(tmp_path / "saved")


def test_altered_adapters_are_refused(model, tmp_path):
    model.save(tmp_path / "saved")
    manifest = json.loads((tmp_path / "saved" / MANIFEST).read_text())
    next(iter(manifest["tensors"].values()))["blocks"][0]["sha256"] = "0" * 64
    (tmp_path / "saved" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="was altered"):
        az.load(tmp_path / "saved")


def test_the_fingerprint_follows_the_adapters_and_the_base(model):
    before = model.fingerprint
    with torch.no_grad():
        next(iter(model.adapters.weights().values())).add_(1)
    second = model.fingerprint
    with torch.no_grad():
        next(iter(model.adapters.base_state().values())).add_(1)
    assert len({before, second, model.fingerprint}) == 3


# Training


def test_only_the_adapters_of_the_batch_get_gradients(encoder_path, given):
    sets = read_task_sets(given)
    encoder = TaskLoRA(str(encoder_path), dims=(8, WIDTH))
    training = TaskTraining(Column(encoder), sets, (8, WIDTH), None).train()
    batches = PlannedBatches(sets, 8, 40, 0)
    seen = set()
    for place in range(len(batches)):
        batch = batches[place]
        training.zero_grad()
        training(**training.collate([batch]))["loss"].backward()
        weights = {task: encoder.adapters.weights(task).values() for task in TASKS}
        with_gradient = {task for task in TASKS if any(one.grad is not None for one in weights[task])}
        assert all(any(bool(one.grad.any()) for one in weights[task]) for task in with_gradient)
        assert with_gradient == set(sets[batch.which].adapters)
        untouched = [name for name, weight in encoder.named_parameters() if ".lora_" not in name]
        assert all(encoder.get_parameter(name).grad is None for name in untouched)
        seen |= with_gradient
    assert seen == set(TASKS)


def test_batches_come_from_one_data_set_drawn_by_its_size(tmp_path, given):
    sets = read_task_sets(given)
    plan = PlannedBatches(sets, 8, 2000, 0).plan
    share = np.bincount([which for which, _ in plan], minlength=4) / len(plan)
    np.testing.assert_allclose(share, [len(one) / sum(map(len, sets)) for one in sets], atol=0.04)
    assert PlannedBatches(sets, 8, 50, 0).plan == plan[:50] != PlannedBatches(sets, 8, 50, 1).plan
    by_set = [row for which, rows in plan if which == 2 for row, _ in rows]
    assert sorted(by_set[: len(sets[2])]) == list(range(len(sets[2])))
    for which, rows in plan:
        if sets[which].shape == "labelled texts":
            assert all(sets[which].labels[row] == sets[which].labels[partner] for row, partner in rows)
            assert all(row != partner for row, partner in rows)


def test_an_adapter_learns_its_task_and_the_others_stay(encoder_path, tmp_path):
    sets = read_task_sets([f"classification={write_labelled(tmp_path / 'labelled.jsonl', count=120)}"])
    encoder = TaskLoRA(str(encoder_path), ["classification", "separation"], dims=(8, WIDTH))
    other = write_labelled(tmp_path / "other.jsonl", count=60)
    texts, labels = read(other).texts, np.array(read(other).labels)

    def hits(task, dims):
        z = encoder.encode(texts, task=task, truncate_dim=dims)
        scores = z @ z.T
        np.fill_diagonal(scores, -1)
        return float((labels[scores.argmax(1)] == labels).mean())

    before = {dims: hits("classification", dims) for dims in (8, WIDTH)}
    others = encoder.encode(texts, task="separation")
    base = encoder.base_fingerprint()
    plan = TrainingPlan(epochs=1, batch_size=16, learning_rate=2e-2)
    losses = train_adapters(encoder, sets, plan, tmp_path / "work", steps=60)["losses"]
    assert losses[-1]["loss"] < losses[0]["loss"]
    for dims in (8, WIDTH):
        assert hits("classification", dims) > before[dims] + 0.15
    np.testing.assert_array_equal(encoder.encode(texts, task="separation"), others)
    assert encoder.base_fingerprint() == base


def test_fits_all_tasks_from_the_command_line_and_measures_each(encoder_path, given, tmp_path, anysize):
    words = ["fit", "none", "--method", "tasks", "--model", encoder_path, "--dims", "8,32", "--batch-size", "8",
             "--out", tmp_path / "out"]  # fmt: skip
    for one in given:
        words += ["--task", one]
    said = anysize(*words)
    assert said.status == 0, said.err
    assert "rows for retrieval, text-matching, classification, separation" in said.out
    model = az.load(tmp_path / "out")
    assert model.tasks == TASKS
    assert model.instructions
    retrieval, scored = (one.partition("=")[2] for one in given[:2])
    frontier = az.measure(model, retrieval)
    assert "held out from training" in frontier.meta["task"]
    queries, corpus = (model.features(["balan"], task=task) for task in ("retrieval.query", "retrieval.passage"))
    assert np.abs(queries - corpus).max() > 1e-6
    assert "scored pairs held out" in az.measure(model, scored).meta["task"]
    assert anysize("measure", tmp_path / "out", scored).status == 0


def test_measuring_runs_the_adapter_of_the_task(model, tmp_path, monkeypatch):
    asked = []
    features = TaskEncoder.features
    monkeypatch.setattr(TaskEncoder, "features", lambda self, texts, *, task=None, side=None, **more:
                        asked.append((task, side, len(texts))) or features(self, texts, task=task, side=side, **more)
                        )  # fmt: skip
    model.about = {"options": {"model": "unused"}}
    measured(az.text.RetrievalEvaluator(), {"nested": [model]}, read(write_pairs(tmp_path / "pairs.jsonl")))
    texts, timed = [one for one in asked if one[2] > 1], {one for one in asked if one[2] == 1}
    assert [task for task, *_ in texts] == ["retrieval.passage", "retrieval.query"]  # each text once
    assert timed == {(None, "query", 1)}  # one query, again and again, through the adapter of its side
    asked.clear()
    scored = read(write_scored(tmp_path / "scored.jsonl"))
    measured(az.text.SimilarityEvaluator(), {"nested": [model, model.for_task("separation")]}, scored)
    assert [task for task, *_ in asked] == ["text-matching", None]


def test_an_index_embeds_documents_and_queries_each_with_its_own_adapter(model, tmp_path):
    texts = sentences(30, 2)
    model.save(tmp_path / "saved")
    az.Index.build(tmp_path / "index", tmp_path / "saved", texts)
    scores = model.encode_query(texts[:3]) @ model.encode_document(texts).T
    for row, results in enumerate(az.Index.open(tmp_path / "index").search_many(texts[:3], k=5)):
        assert [hit.text for hit in results.hits] == [texts[place] for place in (-scores[row]).argsort()[:5]]


def test_an_index_for_one_task_asks_with_that_task_and_no_other(model, tmp_path, anysize):
    texts = sentences(30, 2)
    corpus = tmp_path / "texts.jsonl"
    corpus.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    model.save(tmp_path / "saved")
    words = ["index", tmp_path / "saved", corpus, "--out", tmp_path / "index"]
    anysize(*words, "--task", "poetry").refused("asked for the task 'poetry', but it has retrieval.query")
    assert anysize(*words, "--task", "text-matching").status == 0
    scores = model.encode(texts[:3], task="text-matching") @ model.encode(texts, task="text-matching").T
    for index in (az.Index.open(tmp_path / "index"), az.Index.open(tmp_path / "index", model=tmp_path / "saved")):
        for row, results in enumerate(index.search_many(texts[:3], k=5)):
            assert [hit.text for hit in results.hits] == [texts[place] for place in (-scores[row]).argsort()[:5]]
    with pytest.raises(CheckpointError, match=r"for text-matching, not .* for separation"):
        az.Index.open(tmp_path / "index", model=model.for_task("separation"))


def test_measuring_a_model_of_one_task_from_the_command_line(encoder_path, given, tmp_path, anysize):
    labelled = given[2].partition("=")[2]
    assert anysize("fit", "none", "--method", "tasks", "--model", encoder_path, "--dims", "8,32", "--batch-size", "8",
                   "--task", given[2], "--out", tmp_path / "out").status == 0  # fmt: skip
    anysize("measure", tmp_path / "out", labelled).refused("no adapter for 'text-matching'; it has: classification")
    assert anysize("measure", tmp_path / "out", labelled, "--task", "classification").status == 0


def test_tunes_the_base_on_pairs_first_where_there_are_any(encoder_path, given, tmp_path):
    pairs = write_pairs(tmp_path / "first.jsonl", count=40, seed=4)
    shared = {"model": str(encoder_path), "task": given[1:2], "dims": (8, 32), "batch_size": 8, "steps": 2,
              "learning_rate": 1e-9}  # fmt: skip
    tuned = az.fit(pairs, method=Tasks(**shared, base_learning_rate=1e-2), out=tmp_path / "tuned")
    plain = az.fit("none", method=Tasks(**shared))
    assert tuned.about["base_losses"]
    assert not plain.about["base_losses"]
    texts = sentences(5, 8)
    untouched = Encoder(str(encoder_path)).model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(plain.encode(texts, task="text-matching"), untouched, atol=1e-5)
    assert np.abs(tuned.encode(texts, task="text-matching") - untouched).max() > 1e-2
    loaded = az.load(tmp_path / "tuned")
    np.testing.assert_array_equal(loaded.encode(texts, task="text-matching"), tuned.encode(texts, task="text-matching"))


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("poetry={pairs}", "no task is called 'poetry'; there are: retrieval, text-matching"),
        ("retrieval.query={pairs}", "did you mean retrieval, which trains both of its adapters"),
        ("retrieval", "'retrieval' does not say task=DATA"),
        ("classification={pairs}", "pairs is no data for classification; expected text, label"),
        ("retrieval={labelled}", "labelled is no data for retrieval; expected anchor, positive"),
        ("text-matching={labelled}", "no data for text-matching; expected sentence1, sentence2, score"),
        ("separation={lonely}", "lonely has 0 rows for separation"),
        ("retrieval={missing}", "does not exist"),
    ],
)
def test_data_that_does_not_fit_a_task_is_refused_in_one_sentence(encoder_path, given, tmp_path, anysize, task, words):
    lonely = tmp_path / "lonely.jsonl"
    lonely.write_text('{"text": "balan", "label": "a"}\n{"text": "demer", "label": "b"}')
    files = {name: tmp_path / f"{name}.jsonl" for name in ("pairs", "labelled", "lonely", "missing")}
    said = anysize("fit", "none", "--method", "tasks", "--model", encoder_path, "--out", tmp_path / "out",
                   "--task", task.format(**files))  # fmt: skip
    said.refused(words)
    assert not (tmp_path / "out.partial").exists()


def test_no_task_no_model_and_nothing_to_tune_on_are_said(encoder_path, given, tmp_path, anysize):
    words = ["fit", "none", "--method", "tasks", "--out", tmp_path / "out"]
    anysize(*words, "--task", given[0]).refused("--model")
    anysize(*words, "--model", encoder_path).refused("--task TASK=DATA", "separation")
    words[1] = tmp_path / "labelled.jsonl"
    anysize(*words, "--model", encoder_path, "--task", given[0]).refused("no pairs to tune the encoder on", "none")
    anysize("fit", "none", "--method", "tasks", "--steps", "0", "--out", "x").refused("steps must be above zero")


def test_other_methods_need_data(encoder_path, tmp_path, anysize):
    anysize("fit", "none", "--model", encoder_path, "--out", tmp_path / "out").refused("none")


def words_of_a_run(encoder_path, given, tmp_path):
    return {"model": str(encoder_path), "task": given, "dims": (8, 32), "batch_size": 4}, write_pairs(
        tmp_path / "first.jsonl", count=90, seed=4
    )


def same(one, other):
    assert one.fingerprint == other.fingerprint
    first, second = one.state_dict(), other.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_killed_fit_resumes_to_the_same_weights(encoder_path, given, tmp_path):
    options, pairs = words_of_a_run(encoder_path, given, tmp_path)

    def work():
        at_step(12, die, within="adapters")
        az.fit(str(pairs), method="tasks", out=tmp_path / "cut", **options)

    killed(work)
    assert not (tmp_path / "cut").exists()
    base = tmp_path / "cut.partial" / "base"
    for name in ("model.safetensors", "losses.json", "tokenizer.json"):
        for _ in flips(base / name, 2):
            with pytest.raises(CheckpointError, match=f"base/{name}.*, or delete .*base to tune the encoder again"):
                az.fit(str(pairs), method="tasks", out=tmp_path / "cut", resume=True, **options)
    resumed = az.fit(str(pairs), method="tasks", out=tmp_path / "cut", resume=True, **options)
    same(az.fit(str(pairs), method="tasks", **options), resumed)
    assert not (tmp_path / "cut.partial").exists()
    again = az.fit(str(pairs), method="tasks", out=tmp_path / "cut", resume=True, **options)
    assert again.fingerprint == resumed.fingerprint


def test_a_fit_interrupted_while_the_base_is_tuned_resumes_to_the_same_weights(
    encoder_path, given, tmp_path, monkeypatch
):
    options, pairs = words_of_a_run(encoder_path, given[1:2], tmp_path)
    taken = []

    class Stopping(torch.optim.AdamW):
        def step(self, *arguments, **more):
            taken.append(1)
            if len(taken) == 12:
                raise KeyboardInterrupt
            return super().step(*arguments, **more)

    monkeypatch.setattr(torch.optim, "AdamW", Stopping)
    with pytest.raises(KeyboardInterrupt):
        az.fit(str(pairs), method="tasks", out=tmp_path / "cut", **options)
    assert list((tmp_path / "cut.partial" / "pairs").glob("checkpoints/checkpoint-*"))
    assert not (tmp_path / "cut.partial" / "base").exists()
    resumed = az.fit(str(pairs), method="tasks", out=tmp_path / "cut", resume=True, **options)
    same(az.fit(str(pairs), method="tasks", **options), resumed)


def test_a_run_whose_task_data_changed_is_not_resumed(encoder_path, given, tmp_path, monkeypatch, anysize):
    import anysize.text.tasks.fit as home

    words = ["fit", "none", "--method", "tasks", "--model", encoder_path, "--dims", "8,32", "--batch-size", "8",
             "--task", given[1], "--out", tmp_path / "out"]  # fmt: skip

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(home, "train_adapters", stop)
    assert anysize(*words).status == 130
    write_scored(tmp_path / "scored.jsonl", count=41)
    anysize(*words, "--resume").refused("different data for text-matching")
