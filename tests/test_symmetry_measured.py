"""What the order of neurons costs, measured on very little."""

import json
import sys

import pytest
import torch

from tests.fakes import tiny_corpus
from tokenization import symmetry
from tokenization.corpus import Corpus
from tokenization.learn_codebook import CodebookConfig
from tokenization.registry import DEFAULT, VECTOR_TABLES, learner
from tokenization.symmetry import QUICK, Settings, measure, restored
from weightgpt.field import FieldConfig
from weightgpt.files import InputError
from weightgpt.fitting import FitConfig, fit
from weightgpt.sampling import Samples
from weightgpt.symmetry import permute, random_permutations
from weightgpt.tokenizer import WeightTokenizer

NARROW = CodebookConfig(
    steps=2, codes=8, levels=2, latent_width=4, coefficients=4, mixer_width=8, probes=64, encoder_width=8, points=16
)


def bundle(folder):
    """A tokenizer of fields of the usual architecture, learnt from next to nothing."""
    samples = tiny_corpus().samples
    few = Samples(samples.points[:256], samples.sdf[:, :256])
    fits = fit(FieldConfig(), few.select(slice(0, 4)), FitConfig(steps=1)).fields
    learnt = learner(DEFAULT, NARROW)(Corpus(few, fits, fits.flat[0], FitConfig(steps=1)), False)
    WeightTokenizer.create(learnt.quantiser, ["none"]).save_pretrained(folder)
    return folder


def test_fits_near_the_shared_field_come_back_and_others_are_told():
    config = FieldConfig(hidden=(6, 5), octaves=1)
    fields = fit(config, tiny_corpus().samples.select(slice(0, 8)), FitConfig(steps=1)).fields
    shared = fields.flat[0]
    assert restored(fields.select(slice(0, 1)), shared, 0) == {"fields": 1, "restored": 1, "left": 1}
    orders = random_permutations(config, 1, 5)
    moved = type(fields)(config, torch.cat([shared[None], permute(config, shared[None], orders)]))
    assert restored(moved, shared, 0) == {"fields": 2, "restored": 1, "left": 1}


@pytest.mark.slow
def test_a_quick_measurement_and_its_page(tmp_path, monkeypatch, capsys):
    model, output = bundle(tmp_path / "model"), tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["symmetry", "--quick", f"--output={output}", f"--model={model}"])
    symmetry.main()
    found = json.loads((output / "symmetry.json").read_text())
    assert found["settings"] == {**vars(Settings(**QUICK)), "model": str(model)}
    assert [row["aligned"] for row in found["rows"]] == [False, True] * 3
    plain, _, permuted, again, started, nearer = found["rows"]
    names = {*VECTOR_TABLES, "the bundle"}
    assert all(set(row["iou_through"]) == names for row in found["rows"])
    assert permuted["iou"] == pytest.approx(plain["iou"], abs=1e-3)
    assert again["distance"] == pytest.approx(plain["distance"], rel=1e-3)
    assert permuted["distance"] > 2 * plain["distance"]
    assert nearer["distance"] < started["distance"]
    page = (output / "symmetry.md").read_text()
    assert f"| {again['distance']:.3f} |" in page
    assert "| random starts | yes |" in capsys.readouterr().out
    with pytest.raises(InputError, match="other settings"):
        measure(Settings(), output)
