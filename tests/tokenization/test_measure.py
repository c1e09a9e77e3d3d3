"""Measuring: figures by hand, rows that come together, and a small measurement from end to end."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import trimesh

from tests.fakes import (
    box_shape,
    fitted_sphere,
    sphere_shape,
    tiny_codebook,
    tiny_config,
    tiny_corpus,
    tiny_graph,
    tiny_weight_vq,
)
from tokenization import registry
from tokenization.measure import __main__ as measure
from tokenization.measure import benchmark, page
from tokenization.measure import figures as judge
from tokenization.measure.benchmark import Benchmark, BenchmarkConfig
from weightgpt.errors import InputError
from weightgpt.fields import fitting
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.io import read_tensors
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.graph import INITIALIZATION_SEED, GraphQuantizer
from weightgpt.shapes.sampling import sample_sdf, uniform_points
from weightgpt.tokens.tokenizer import WeightTokenizer

SMALL = BenchmarkConfig(
    corpus="chairs", num_train=6, num_held_out=4, num_eval_points=512, num_points=512, resolution=24
)


@pytest.fixture(scope="module")
def tiny_bench() -> Benchmark:
    """Four held-out balls and boxes, whose plain fits are all the same rough sphere."""
    held = [sphere_shape(0.6, label="ball"), sphere_shape(0.5, label="ball"), box_shape(label="box"), box_shape()]
    corpus, points = tiny_corpus(), uniform_points(512, 3, 5)
    plain = Fields(tiny_config(), (fitted_sphere() + 0.01).expand(4, -1))
    return Benchmark(
        SMALL, [], held, corpus, sample_sdf(held, corpus.samples.points), sample_sdf(held, points), plain, 0.001
    )


def test_the_plain_fit_is_its_own_equal(tiny_bench):
    figures = judge.judge(tiny_bench, judge.true_clouds(tiny_bench), tiny_bench.plain, "plain")
    found = judge.summary(figures, figures)
    assert found["iou_ratio"] == found["chamfer_ratio"] == 1
    assert found["without_surface"] == 0
    assert found["iou"] == pytest.approx(float(figures.iou.mean()))
    assert set(judge.by_class(tiny_bench, figures, figures)) == {"ball", "box", "none"}
    assert 0.5 < found["normal_consistency"] <= 1


def test_a_field_without_surface_is_counted_and_left_out(tiny_bench):
    plain = judge.judge(tiny_bench, judge.true_clouds(tiny_bench), tiny_bench.plain, "plain")
    flat = tiny_bench.plain.flat.clone()
    flat[1] = 0
    flat[1, -1] = 1  # the bias of the output: outside everywhere
    figures = judge.judge(tiny_bench, judge.true_clouds(tiny_bench), Fields(tiny_config(), flat), "empty")
    found = judge.summary(figures, plain)
    assert found["without_surface"] == 1
    assert found["chamfer_ratio"] == 1
    assert found["iou_ratio"] < 1
    assert judge.by_class(tiny_bench, figures, plain)["ball"]["iou"] == pytest.approx(figures.iou[0] / 2)


def test_weight_error_by_hand(tiny_bench):
    """The fits are 0.01 from the initial field everywhere; half of that is an error of a half in every layer."""
    halfway = Fields(tiny_config(), tiny_bench.plain.flat - 0.005)
    found = judge.weight_error(tiny_bench, halfway)
    assert found["weight_error"] == pytest.approx(0.5, rel=1e-3)
    assert found["weight_error_by_layer"] == pytest.approx([0.5] * 3, rel=1e-3)
    assert judge.weight_error(tiny_bench, tiny_bench.plain)["weight_error"] == 0


def test_rate_and_levels(tiny_bench):
    quantizer = tiny_weight_vq()
    codes = torch.zeros(4, quantizer.num_chunks, quantizer.num_quantizers, dtype=torch.long)
    found = judge.rate(quantizer, codes)
    assert (found["tokens_per_field"], found["bits_per_field"]) == (56, 56 * 3)
    assert found["usage"] == {"used": [1, 1], "dead": [7, 7], "perplexity": [1.0, 1.0]}
    rows = judge.by_levels(tiny_bench, quantizer, codes)
    assert [(row["levels"], row["tokens"], row["bits"]) for row in rows] == [(1, 28, 84), (2, 56, 168)]


def test_rows_of_several_measurements_come_together_and_the_same_is_replaced(tmp_path):
    row = {"corpus": "chairs", "tokenizer": "bins", "settings": SMALL.to_dict(), "tokens_per_field": 8, "iou": 0.5}
    loop, other = {**row, "tokenizer": "loop"}, {**row, "settings": replace(SMALL, seed=1).to_dict()}
    finer = {**loop, "settings": replace(SMALL, changes={"levels": 16}).to_dict(), "tokens_per_field": 64}
    old = {name: value for name, value in row["settings"].items() if name not in ("classes", "hidden")}
    page.add_rows(tmp_path, "first", [{**row, "settings": {**old, "loop_levels": None}}, loop])
    page.add_rows(tmp_path, "second", [{**row, "iou": 0.75}, finer, other])
    found = json.loads((tmp_path / "tokenizers.json").read_text())
    assert found["command"] == "second"
    assert [(r["tokenizer"], r["settings"]["seed"], r["tokens_per_field"], r["iou"]) for r in found["rows"]] == [
        ("loop", 0, 8, 0.5),
        ("bins", 0, 8, 0.75),
        ("loop", 0, 64, 0.5),
        ("bins", 1, 8, 0.5),
    ]
    assert page.newest(found["rows"]) == found["rows"][3:]
    assert page.newest(found["rows"][:3]) == found["rows"][:3]  # settings of the loop change no shape and no fit
    assert page.titles(found["rows"][:3]) == ["loop-8", "bins", "loop-64"]


def test_rows_of_earlier_versions_can_still_be_read():
    rows = json.loads((Path(__file__).parents[2] / "docs" / "results" / "tokenizers.json").read_text())["rows"]
    assert len({page.identity(row) for row in rows}) == len(rows)
    assert page.table(rows).count("\n") == len(rows) + 1
    drawn = next(row for row in rows if row["corpus"] == "six-families" and row["tokenizer"] == "bins")
    config = BenchmarkConfig(
        corpus="six-families", num_train=drawn["train_shapes"], num_held_out=drawn["held_out_shapes"]
    )
    assert page.identity({**drawn, "settings": measure.told(config, "bins")}) == page.identity(drawn)


def test_settings_of_the_loop_are_settings_of_what_is_learnt_in_it_only():
    finer = replace(SMALL, changes={"levels": 4})
    for name in ("loop", "graph"):
        assert measure.place(SMALL, name) != measure.place(finer, name)
        assert measure.told(finer, name)["loop_levels"] == 4
    for name in ("bins", "plain-fit"):
        assert measure.place(SMALL, name) == measure.place(finer, name) != measure.place(replace(SMALL, seed=1), name)
        assert not any(key.startswith("loop_") for key in measure.told(finer, name))


def test_the_command_line_reaches_every_setting():
    arguments = ["--corpus", "meshes/all", "--classes", "chair,mug", "--name", "real-mixed", "--hidden", "8,16"]
    arguments += ["--tokenizers", "loop,graph", "--output", "x", "--loop-codes", "64", "--loop-mixer-width", "32"]
    arguments += ["--loop-own-latents", "--loop-points", "99", "--loop-learning-rate", "0.1", "--held", "7"]
    config, names, _ = measure.parse(arguments)
    assert (config.classes, config.hidden, config.held, names) == (("chair", "mug"), (8, 16), 7, ["loop", "graph"])
    asked = {"codes": 64, "latent_decoder_width": 32, "own_latents": True, "points": 99, "learning_rate": 0.1}
    assert config.changes == {"steps": benchmark.STEPS, **asked}
    loop, encode = measure.asked(config)
    assert {name: getattr(loop, name) for name in asked} == asked
    assert encode.steps > 0  # latents of their own are searched
    assert measure.asked(measure.parse([*arguments, "--no-loop-own-latents"])[0])[1].steps == 0
    assert config.name == f"real-mixed-{FieldConfig(hidden=(8, 16)).parameters}"
    assert measure.parse(["--corpus", "chairs", "--output", "x"])[0].name == "chairs"
    assert replace(SMALL, hidden=(128, 128, 128)).name == "chairs-36737"  # the MLP of HyperDiffusion


def test_what_a_gpt_needs_stays_with_the_tokenizer_that_is_measured_again(tmp_path):
    row = {"corpus": "chairs", "tokenizer": "bins", "settings": SMALL.to_dict(), "fingerprint": "a"}
    page.add_rows(tmp_path, "first", [{**row, "gpt_bits_fraction": 0.5}])
    page.add_rows(tmp_path, "second", [{**row, "gpt_bits_fraction": None}])
    assert json.loads((tmp_path / "tokenizers.json").read_text())["rows"][0]["gpt_bits_fraction"] == 0.5
    page.add_rows(tmp_path, "third", [{**row, "fingerprint": "b", "gpt_bits_fraction": None}])
    assert json.loads((tmp_path / "tokenizers.json").read_text())["rows"][0]["gpt_bits_fraction"] is None


def test_six_shapes_of_the_classes_in_turn():
    shapes = [sphere_shape(0.5, label=label) for label in "aaaaabbbc"]
    assert page.shown(shapes) == [0, 5, 8, 1, 6, 2]


def test_drawn_shapes_are_split_without_overlap_and_files_are_augmented(tmp_path):
    train, held = benchmark.load_shapes(replace(SMALL, corpus="six-families", train=18, held=12))
    assert (len(train), len(held)) == (18, 12)
    assert not {shape.name for shape in train} & {shape.name for shape in held}
    (tmp_path / "brick").mkdir()
    for i in range(6):
        trimesh.creation.box().apply_scale([1, 1 + 0.1 * i, 1]).export(tmp_path / "brick" / f"{i}.ply")
    train, held = benchmark.load_shapes(replace(SMALL, corpus=str(tmp_path), train=10, held=2))
    assert (len(train), len(held)) == (10, 2)
    assert not {shape.name.split("~")[0] for shape in train} & {shape.name for shape in held}
    assert replace(SMALL, corpus=str(tmp_path)).name == tmp_path.name


def test_some_classes_of_a_folder_are_the_same_shapes_as_in_the_whole_and_each_is_held_out(tmp_path):
    for label in ("ball", "brick", "other"):
        (tmp_path / label / "deep").mkdir(parents=True)
        for i in range(6):
            make = trimesh.creation.box if label == "brick" else partial(trimesh.creation.icosphere, subdivisions=1)
            make().apply_scale([1, 1 + 0.1 * i, 1]).export(tmp_path / label / ("deep" if i % 2 else "") / f"{i}.ply")
    config = replace(SMALL, corpus=str(tmp_path), classes=("ball", "brick"), title="both", train=8, held=4)
    train, held = benchmark.load_shapes(config)
    assert sorted(shape.label for shape in held) == ["ball", "ball", "brick", "brick"]
    atomic_write = {(shape.name, shape.label) for shape in benchmark.read_shapes(tmp_path, ())}
    assert {(shape.name, shape.label) for shape in [*train, *held]} == {
        pair for pair in atomic_write if pair[1] != "other"
    }
    assert config.name == "both"
    with pytest.raises(InputError, match="not a folder"):
        benchmark.load_shapes(replace(config, classes=("ball", "cube")))
    with pytest.raises(InputError, match="is drawn, leave them out"):
        replace(SMALL, classes=("chair",))
    with pytest.raises(InputError, match="without slashes"):
        replace(SMALL, title="../x")


def test_other_settings_of_the_loop_fit_nothing_again_and_other_fields_do(tmp_path, monkeypatch):
    config, fitted = replace(SMALL, fit_steps=2, most_steps=2), []
    true = fitting._fit_batch
    monkeypatch.setattr(fitting, "_fit_batch", lambda config, *rest: fitted.append(config) or true(config, *rest))
    first = benchmark.prepare(config, tmp_path)
    assert fitted == [FieldConfig()] * 3  # the initial field, the held-out shapes, the training shapes
    again = benchmark.prepare(replace(config, changes={"levels": 2, "steps": 7}), tmp_path)
    assert len(fitted) == 3
    assert torch.equal(again.plain.flat, first.plain.flat)
    wide = benchmark.prepare(replace(config, hidden=(8,)), tmp_path)
    assert fitted[3:] == [FieldConfig(hidden=(8,))] * 3
    assert wide.plain.config == FieldConfig(hidden=(8,))
    assert torch.equal(wide.samples.sdf, first.samples.sdf)


def test_the_graph_encodes_fields_of_random_starts_and_not_the_plain_fits():
    quantizer, corpus = tiny_graph(tiny_codebook()), tiny_corpus(24)
    samples = corpus.samples.select(slice(0, 3))
    codes = quantizer.encode_fits(samples, corpus.fits.select(slice(0, 3)), EncodeConfig())
    alone = fit(quantizer.field_config, samples, FitConfig(seed=INITIALIZATION_SEED))  # no initial field
    assert torch.equal(codes, quantizer.encode(alone.fields))
    starts = fitting.random_initializations(quantizer.field_config, 3, INITIALIZATION_SEED)
    assert not any(torch.equal(starts[0], starts[i]) for i in (1, 2))


def test_longer_fits_are_made_while_they_still_gain(tmp_path, monkeypatch):
    gains = iter([0.02, 0.006, 0.004])
    monkeypatch.setattr(benchmark, "_gain", lambda *_: next(gains))
    made = benchmark.prepare(replace(SMALL, fit_steps=2, most_steps=100), tmp_path)
    assert (made.corpus.fit.steps, made.gain) == (8, 0.004)
    assert sorted(path.name for path in tmp_path.glob("*/*-steps")) == ["2-steps", "4-steps", "8-steps"]
    monkeypatch.setattr(benchmark, "_gain", lambda *_: 1.0)
    assert benchmark.prepare(replace(SMALL, fit_steps=2, most_steps=5), tmp_path).corpus.fit.steps == 4


def test_mistakes_are_one_sentence_and_exit_code_two(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    for arguments, sentence in [
        (["--corpus", "chairs", "--tokenizers", "vq"], "no tokenizer 'vq'"),
        (["--corpus", str(tmp_path / "empty")], "error:"),
        (["--corpus", "chairs", "--train", "0"], "must be positive"),
    ]:
        monkeypatch.setattr("sys.argv", ["measure", *arguments, "--output", str(tmp_path / "out")])
        assert measure.main() == 2
        assert sentence in capsys.readouterr().err


def test_settings_that_measure_nothing_are_refused():
    with pytest.raises(InputError, match="must be positive"):
        replace(SMALL, held=0)


@pytest.mark.slow
def test_the_graph_is_measured_like_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "GraphConfig", partial(registry.GraphConfig, steps=2))
    seen = []
    true = GraphQuantizer.encode

    def encode(self, fields, options):
        seen.append(fields)
        return true(self, fields, options)

    monkeypatch.setattr(GraphQuantizer, "encode", encode)
    small = {"levels": 2, "codes": 8, "latent_width": 4, "coefficients": 4, "steps": 4}
    config = replace(SMALL, fitted=2, held=2, fit_steps=4, most_steps=4, resolution=16, changes=small)
    plain, graph = measure.measure(config, ["graph"], tmp_path, "command")
    assert (graph["tokens_per_field"], graph["bits_per_field"]) == (8, 24)
    bench_ = benchmark.prepare(config, tmp_path / "chairs" / "shared")
    for fields, conditioned in zip(seen, (bench_.corpus.fits, bench_.plain), strict=True):
        moved = (fields.flat - conditioned.flat).square().sum(1)
        assert (moved > 4 * (conditioned.flat - bench_.corpus.shared_init).square().sum(1)).all()  # not from that start
    assert "each shape was fitted from a random start of its own" in (tmp_path / "tokenizers.md").read_text()
    assert plain["folder"] != graph["folder"]


@pytest.mark.slow
def test_a_quick_measurement_leaves_all_that_it_promises(tmp_path, monkeypatch, capsys):
    names = "loop,delta-lloyd-max,fsq"
    arguments = ["--corpus", "six-families", "--quick", "--tokenizers", names, "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["measure", *arguments])
    assert measure.main() == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "tokenizers.json").read_text())["rows"]
    assert [row["tokenizer"] for row in rows] == ["plain-fit", *names.split(",")]
    for row in rows:
        assert row["tokenizer"] in printed
        assert {"corpus", "tokens_per_field", "bits_per_field", "iou", "iou_ratio", "chamfer_ratio"} <= set(row)
        assert len(row["by_class"]) == 6
    assert rows[2]["iou_ratio"] > 0.9
    text = (tmp_path / "tokenizers.md").read_text()
    assert "## six-families" in text
    (tmp_path / "tokenizers.md").unlink()
    monkeypatch.setattr("sys.argv", ["page", "--output", str(tmp_path)])
    assert page.main() == 0
    assert (tmp_path / "tokenizers.md").read_text() == text
    for name in ("rate-distortion-six-families.png", "tokenizers-six-families.png"):
        assert name in text
        assert (tmp_path / name).stat().st_size > 10_000
    kept = tmp_path / "six-families" / rows[3]["folder"]
    tokenizer, ids = WeightTokenizer.from_pretrained(kept), read_tensors(kept / "ids.safetensors")
    named = json.loads((kept / "settings.json").read_text())["shapes"]
    assert tokenizer.quantizer.fingerprint == rows[3]["fingerprint"]
    for part in ("train", "held"):
        assert tokenizer.labels(ids[part].long()) == [shape["label"] for shape in named[part]]
    config, _, output = measure.parse(arguments)
    folder = output / "six-families"
    monkeypatch.setattr(measure, "save", None)  # what was learned is only read
    again = measure.made(benchmark.prepare(config, folder / "shared"), "fsq", folder / measure.place(config, "fsq"))
    assert torch.equal(again.tokenizer.quantizer.codebook.code_vectors, tokenizer.quantizer.codebook.code_vectors)
