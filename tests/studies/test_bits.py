"""Bits of a field: entropies by hand, GPTs of what can be told and what cannot, rows, the page, and what is resumed."""

import json
import math
from dataclasses import replace

import pytest
import torch

from studies import sequences
from studies.bits import __main__ as bits
from studies.bits import page as bits_page
from studies.bits.__main__ import BitsConfig, independent_bits, measured, operations, pretrain_config
from studies.sequences import Ids, Source, draw, of_folder, of_run
from tests.fakes import tiny_tokenizer
from tokenization.presets import TokenizerConfig
from training.data.corpus import SPLITS, build_corpus, save_corpus
from training.presets import PipelineConfig
from training.run import Run
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json, write_tensors

NANO = BitsConfig(preset="nano", compute=0.05, passes=24)


def sequences_of(codes: torch.Tensor) -> torch.Tensor:
    """Codes (B, 3, 2) of `tiny_tokenizer` as ids, all of one class."""
    return tiny_tokenizer().vocabulary.ids(codes, ["chair"] * len(codes))


def random_ids(counts: tuple[int, int, int], seed: int = 0) -> Ids:
    generator = torch.Generator().manual_seed(seed)
    return Ids(*(sequences_of(torch.randint(8, (count, 3, 2), generator=generator)) for count in counts))


def source(ids: Ids) -> Source:
    return Source("balls", "tiny", tiny_tokenizer(), ids, {})


def write_measured(folder, ids: Ids) -> None:
    """What `tokenization.measure` leaves of a tokenizer called "tiny" of the corpus "balls"."""
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder / "balls" / "tiny")
    found = {"train": torch.cat([ids.train, ids.validation]).int(), "held": ids.held.int()}
    write_tensors(folder / "balls" / "tiny" / "ids.safetensors", found)
    row = {"corpus": "balls", "tokenizer": "tiny", "fingerprint": tokenizer.quantizer.fingerprint, "iou_ratio": 0.75}
    write_json(folder / "tokenizers.json", {"command": "measure", "rows": [row, {**row, "fingerprint": "another"}]})


def write_run(folder, counts: tuple[int, int, int]) -> None:
    """What `training.pipeline` leaves of a run on files."""
    tokenizer, count = tiny_tokenizer(), sum(counts)
    codes = torch.arange(count)[:, None, None].expand(count, 3, 2) % 8
    splits = [name for name, number in zip(SPLITS, counts, strict=True) for _ in range(number)]
    weights, names, nothing = tokenizer.quantizer.decode(codes).flat, [str(i) for i in range(count)], [None] * count
    corpus = build_corpus(names, ["chair"] * count, splits, weights, sequences_of(codes), nothing, nothing)
    save_corpus(corpus, folder / "corpus")
    tokenizer.save_pretrained(folder / "model")
    Run(PipelineConfig(corpus="files/balls", tokenizer=TokenizerConfig(kind="fsq")), folder).write_config()
    write_json(folder / "metrics.json", {"iou": 0.5, "iou_ratio": 0.625})


def run_main(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["bits", *arguments])
    return bits.main()


def test_bits_of_independent_codes_by_hand():
    """The first position is 0 three times of four; the second is always 1."""
    seen = torch.tensor([[0, 1], [0, 1], [0, 1], [1, 1]])
    held = torch.tensor([[0, 1], [1, 1]])
    wanted = (-math.log2(3 / 4) - math.log2(1 / 4) + 0 + 0) / 4
    assert independent_bits(Ids(seen, seen, held), 2) == pytest.approx(wanted, abs=1e-3)


def test_the_smoothing_of_frequencies_is_the_one_that_suits_other_shapes():
    """One training code of each of two positions says nothing of shapes that have others: close to uniform is best."""
    seen, others = torch.tensor([[0, 0]]), torch.tensor([[1, 2], [3, 1], [2, 3]])
    most = max(bits.SMOOTHING)
    wanted = -math.log2(most / (1 + 4 * most))
    assert independent_bits(Ids(seen, others, others), 4) == pytest.approx(wanted)
    assert independent_bits(Ids(seen, seen, others), 4) > 5


def test_operations_and_steps_by_hand():
    assert operations("nano", 9) == 6 * (2 * 12 * 64 * 64 + 2 * 9 * 64)
    ids = random_ids((100, 50, 10))
    three = BitsConfig(preset="nano", compute=3 * 100 * 9 * operations("nano", 9) / 1e12)
    assert pretrain_config(three, ids).epochs == pytest.approx(3)
    assert pretrain_config(three, ids).num_evaluations == pytest.approx(6, abs=1)
    assert pretrain_config(BitsConfig(preset="nano", passes=2), ids).epochs == 2
    rows = [torch.zeros(64, length) for length in (35, 764, 3044)]
    assert [pretrain_config(NANO, Ids(row, row, row)).batch_size for row in rows] == [32, 2, 1]


def test_constant_codes_cost_nothing(tmp_path):
    ids = Ids(*(sequences_of(torch.full((count, 3, 2), 5)) for count in (256, 16, 64)))
    found = measured(source(ids), ids, NANO, tmp_path)
    assert found["gpt_bits_fraction"] < 0.03
    assert found["independent_bits_fraction"] < 0.01
    assert (found["train_shapes"], found["held_out_shapes"], found["tokens_per_field"]) == (256, 64, 6)
    assert found["uniform_bits_per_field"] == 18
    assert found["bits_per_field"] == pytest.approx(18 * found["gpt_bits_fraction"])
    assert found["tokens_seen"] == found["steps"] * 32 * 9


def test_random_codes_cost_all(tmp_path):
    ids = random_ids((2048, 64, 256))  # the embeddings of near codes begin alike, which has to be unlearnt here
    found = measured(source(ids), ids, replace(NANO, passes=3, compute=0.1), tmp_path)
    assert found["gpt_bits_fraction"] == pytest.approx(1, abs=0.04)
    assert found["independent_bits_fraction"] == pytest.approx(1, abs=0.02)


def test_a_gpt_sees_what_frequencies_do_not(tmp_path):
    """Each code is uniform, but all six of a field are equal: one code's bits of six."""
    ids = Ids(*(sequences_of((torch.arange(count) % 8)[:, None, None].expand(count, 3, 2)) for count in (512, 16, 64)))
    found = measured(source(ids), ids, replace(NANO, compute=0.1), tmp_path)
    assert found["gpt_bits_fraction"] == pytest.approx(1 / 6, abs=0.05)
    assert found["independent_bits_fraction"] == pytest.approx(1, abs=0.02)


def test_a_measured_folder_becomes_rows_and_a_page_and_is_resumed(tmp_path, monkeypatch, capsys):
    measure, output = tmp_path / "tokenizers", tmp_path / "bits"
    write_measured(measure, random_ids((60, 4, 24)))
    found = of_folder(measure / "balls" / "tiny")
    assert [len(part) for part in (found.ids.train, found.ids.validation, found.ids.held)] == [60, 4, 24]
    arguments = ["--tokenizers", str(measure), "--corpus", "balls", "--output", str(output), "--preset", "nano"]
    assert run_main(monkeypatch, *arguments, "--passes", "2") == 0
    (row,) = read_json(output / bits_page.ROWS)["rows"]
    assert (row["corpus"], row["tokenizer"], row["iou_ratio"], row["train_shapes"]) == ("balls", "tiny", 0.75, 60)
    assert "tiny" in capsys.readouterr().out
    assert row["command"] in (output / bits_page.PAGE).read_text()
    told, other = read_json(measure / "tokenizers.json")["rows"]
    assert (told["gpt_bits_fraction"], told["gpt_train_shapes"]) == (row["gpt_bits_fraction"], 60)
    assert "gpt_bits_fraction" not in other
    monkeypatch.setattr(bits, "pretrain", None)  # what was trained is only read
    assert run_main(monkeypatch, *arguments, "--passes", "2") == 0
    assert read_json(output / bits_page.ROWS)["rows"] == [row]


def test_the_corpus_of_a_run_is_taken_as_it_is(tmp_path, monkeypatch):
    write_run(tmp_path / "run", (40, 8, 16))
    found = of_run(tmp_path / "run")
    assert (found.corpus, found.name, found.near["iou_ratio"]) == ("balls", "fsq of run", 0.625)
    assert found.ids.held.equal(sequences_of((torch.arange(48, 64) % 8)[:, None, None].expand(16, 3, 2)))
    arguments = ["--run", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--preset", "nano", "--passes", "1"]
    assert run_main(monkeypatch, *arguments) == 0
    (row,) = json.loads((tmp_path / "out" / bits_page.ROWS).read_text())["rows"]
    assert (row["train_shapes"], row["validation_shapes"], row["held_out_shapes"]) == (40, 8, 16)


def test_the_first_of_many_drawn_shapes_are_those_of_few(tmp_path):
    tokenizer = tiny_tokenizer()
    few, many = draw(tokenizer, 4, 6, 0, tmp_path), draw(tokenizer, 10, 6, 0, tmp_path)
    assert many.train[:4].equal(few.train)
    assert tokenizer.class_names(many.train[:3]) == ["chair", "table", "chair"]
    assert not many.held.equal(many.validation)
    assert not many.held.equal(many.train[:6])
    assert not draw(tokenizer, 4, 6, 1, tmp_path).train.equal(few.train)


def test_drawn_shapes_are_kept(tmp_path, monkeypatch):
    first = draw(tiny_tokenizer(), 4, 2, 0, tmp_path)
    monkeypatch.setattr(sequences, "draw_shapes", None)
    assert draw(tiny_tokenizer(), 4, 2, 0, tmp_path).train.equal(first.train)


def test_sizes_are_the_first_of_the_drawn_shapes_and_a_plot(tmp_path, monkeypatch):
    write_measured(tmp_path, random_ids((60, 4, 24)))
    arguments = ["--tokenizers", str(tmp_path), "--corpus", "balls", "--names", "tiny", "--output", str(tmp_path / "o")]
    limits = ["--preset", "nano", "--passes", "1", "--held", "16"]
    assert run_main(monkeypatch, *arguments, *limits, "--sizes", "32,64") == 0
    rows = read_json(tmp_path / "o" / bits_page.ROWS)["rows"]
    assert [(row["train_shapes"], row["held_out_shapes"]) for row in rows] == [(32, 16), (64, 16)]
    assert (tmp_path / "o" / bits_page.PLOT).stat().st_size > 10_000
    assert bits_page.PLOT in (tmp_path / "o" / bits_page.PAGE).read_text()
    fewest = min(rows, key=lambda row: row["bits_per_field"])
    told = read_json(tmp_path / "tokenizers.json")["rows"][0]
    assert (told["gpt_bits_per_field"], told["gpt_train_shapes"]) == (fewest["bits_per_field"], fewest["train_shapes"])


def test_the_page_names_the_fewest_bits_and_the_nearest_of_the_others():
    names = [("short", 70.0, 20.0, 1.0, 8), ("middle", 50.0, 60.0, 0.8, 8), ("long", 90.0, 80.0, 0.9, 8)]
    names += [("new", 5.0, 1.0, None, 8), ("short", 10.0, 20.0, 1.0, 2000)]
    keys = ("tokenizer", "bits_per_field", "independent_bits_per_field", "iou_ratio", "train_shapes")
    rows = [dict(zip(keys, values, strict=True)) for values in names]
    (sentence,) = bits_page._verdict(rows)
    assert "short needs 10 bits at an IoU ratio of 1.000, after 2,000 shapes" in sentence
    assert "fewest bits are 50 (middle, IoU ratio 0.800)" in sentence
    assert "highest ratio are 80 (long, IoU ratio 0.900)" in sentence
    assert bits_page._verdict(rows[:1]) == bits_page._verdict(rows[3:4]) == []


def test_mistakes_are_one_sentence_and_exit_code_two(tmp_path, monkeypatch, capsys):
    tiny_tokenizer(("ball",)).save_pretrained(tmp_path / "balls" / "tiny")
    ids = tiny_tokenizer(("ball",)).vocabulary.ids(torch.zeros(40, 3, 2, dtype=torch.long), ["ball"] * 40)
    write_tensors(tmp_path / "balls" / "tiny" / "ids.safetensors", {"train": ids, "held": ids.clone()})
    here = ["--tokenizers", str(tmp_path), "--corpus"]
    for arguments, sentence in [
        ([], "no tokenizer was given"),
        ([*here, "cubes"], "holds no tokenizers"),
        ([*here, "balls", "--sizes", "8"], "ball cannot be drawn"),
        ([*here, "balls", "--compute", "0"], "must be positive"),
    ]:
        assert run_main(monkeypatch, *arguments, "--output", str(tmp_path / "out")) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(InputError, match="choose one of nano"):
        BitsConfig(preset="huge")
