"""The presentation study: its measures by hand, its tables, the joined page, and a quick run of all parts."""

import json
import re
from pathlib import Path

import pytest
import torch

from studies.presentation import __main__ as program
from studies.presentation import gpt, page, permutation, regression, tokens
from studies.presentation.memorization import METHODS, QUICK, compare, count_distinct, worst_index
from studies.presentation.shapes import CONDITIONS, StudyShapes, explained_variance, mean_distance
from tests.fakes import generator, tiny_config, tiny_tokenizer
from weightgpt import __version__
from weightgpt._programs import parse
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.fields.symmetry import permute, random_permutations
from weightgpt.io import write_json
from weightgpt.tokens.vocabulary import NONE


def regression_row(condition: str, count: int) -> dict:
    methods = {f"{method}_{figure}": 0.5 for method in METHODS for figure in ("error", "agreement", "iou")}
    row = {"condition": condition, "fields": count, "iou_plain_fit": 0.9, "train_flops": 1e9, **methods}
    return {**row, "free_running_agreement": count / 100}


def test_distances_and_components_by_hand():
    assert mean_distance(torch.eye(4)) == pytest.approx(2**0.5)
    assert mean_distance(torch.ones(3, 5)) == 0
    assert mean_distance(torch.ones(1, 5)) == 0
    line = torch.tensor([[-1.0], [0.0], [1.0]]) * torch.tensor([3.0, 4.0]) + 7
    assert explained_variance(line) == pytest.approx([1, 1])
    cross = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])  # variance 18 along one axis, 2 along the other
    assert explained_variance(cross)[:2] == pytest.approx([0.9, 1])


def test_errors_count_only_weights_after_the_start():
    weights = torch.randn(3, regression.CONFIG.parameters, generator=generator(0))
    predicted = weights.clone()
    predicted[:, : regression.START] += 5
    assert regression.relative_error(predicted, weights) == 0
    predicted[:, regression.START :] = weights[:, regression.START :].mean()
    assert regression.relative_error(predicted, weights) == pytest.approx(1)


def test_wrong_codes_count_only_codes_after_the_start():
    ids = torch.arange(2 * 9).reshape(2, 9)
    written = ids.clone()
    written[:, : gpt.START] += 1
    written[:, -1] += 1
    assert tokens.wrong_codes(written, ids) == 0
    written[0, gpt.START] += 1
    assert tokens.wrong_codes(written, ids) == pytest.approx(1 / 8)


def test_the_regression_table_lists_both_conditions_of_each_count():
    figures = {
        "parameters_per_field": 361,
        "start": 16,
        "fit_steps": 800,
        "iou_plain_fit": dict.fromkeys(CONDITIONS, 0.9),
        "distance_between": dict.fromkeys(CONDITIONS, 1.2),
        "rows": [regression_row(condition, count) for condition in reversed(CONDITIONS) for count in (16, 2)],
    }
    text = "\n".join(regression.paragraphs(figures, QUICK))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "1.0e+09" in line]
    assert [row[:2] for row in cells] == [[count, name] for count in ("2", "16") for name in CONDITIONS]
    assert [row[6] for row in cells] == ["0.020", "0.020", "0.160", "0.160"]  # agreement of the free-running model


def test_tokens_are_compared_only_with_a_regression_of_the_same_sweep(tmp_path: Path):
    figures = {"model_steps": 20, "rows": [{"fields": 1}, {"fields": 3}]}
    assert tokens.regression_rows(tmp_path, figures) == []
    rows = [regression_row(condition, count) for condition in CONDITIONS for count in (1, 3)]
    write_json(tmp_path / "regression.json", {"model_steps": 20, "rows": rows})
    assert tokens.regression_rows(tmp_path, figures) == rows[2:]
    assert tokens.regression_rows(tmp_path, {**figures, "model_steps": 21}) == []
    assert tokens.regression_rows(tmp_path, {**figures, "rows": [{"fields": 1}]}) == []


def test_both_conditions_share_the_first_field_and_no_other():
    shapes = StudyShapes.draw(3, 0, 256)
    fits = shapes.fit_conditions(tiny_config(), FitConfig(steps=3, points_per_step=64))
    unconditioned, conditioned = (fits[name].flat for name in CONDITIONS)
    assert torch.equal(unconditioned[0], conditioned[0])
    distances = (unconditioned[1:] - unconditioned[0]).norm(dim=1)
    assert (conditioned[1:] - conditioned[0]).norm(dim=1).max() < 0.5 * distances.min()
    assert [shape.name for shape in StudyShapes.draw(2, 0, 256).shapes] == [shape.name for shape in shapes.shapes[:2]]


def test_a_field_agrees_with_itself_and_not_with_its_negative():
    shapes = StudyShapes.draw(2, 0, 256)
    flat = torch.randn(2, tiny_config().parameters, generator=generator(3))
    negative = flat.clone()
    negative[1, -7:] *= -1  # weights and bias of the output
    targets, decoded = Fields(tiny_config(), flat), Fields(tiny_config(), negative)
    row = compare(shapes, targets, {"same": targets, "negative": decoded})
    assert row["same_agreement"] == 1
    assert row["negative_agreement"] == 0.5
    assert row["same_iou"] == row["iou_plain_fit"]
    assert worst_index(shapes, targets, decoded) == 1
    assert count_distinct(torch.tensor([[1, 2], [1, 2], [1, 3]])) == 2


def test_a_permuted_field_is_the_same_function_and_a_changed_field_is_not():
    shapes, config = StudyShapes.draw(1, 0, 256), permutation.CONFIG
    flat = torch.randn(2, config.parameters, generator=generator(1))
    permuted = permute(config, flat, random_permutations(config, 2, 0))
    assert permutation.largest_difference(shapes, flat, permuted) < 1e-4
    assert permutation.largest_difference(shapes, flat, flat + 0.1) > 1e-2


def test_the_model_writes_the_likeliest_legal_code_at_each_position():
    tokenizer = tiny_tokenizer()
    shape = (3, tokenizer.quantizer.num_chunks, tokenizer.quantizer.num_quantizers)
    codes = torch.randint(tokenizer.quantizer.codebook_size, shape, generator=generator(2))
    ids = tokenizer.vocabulary.ids(codes, [NONE] * 3)
    model = gpt.new_model(tokenizer, QUICK, 0).eval()
    teacher_forced = gpt.teacher_forced_ids(model, ids, tokenizer)
    free_running = gpt.free_running_ids(model, ids, tokenizer)
    written = ids[:, : gpt.START]
    for position in range(gpt.START, ids.shape[1] - 1):
        legal = slice(tokenizer.vocabulary.legal[position].start, tokenizer.vocabulary.legal[position].stop)
        with torch.no_grad():
            scores = [model(prefix).logits[:, -1, legal] for prefix in (ids[:, :position], written)]
        after_truth, after_own_codes = (part.argmax(-1) + legal.start for part in scores)
        assert torch.equal(teacher_forced[:, position], after_truth)
        written = torch.cat([written, after_own_codes[:, None]], 1)
    assert torch.equal(free_running[:, :-1], written)
    tokenizer.vocabulary.parse(free_running)


def test_parts_of_different_runs_are_joined(tmp_path: Path):
    folder = tmp_path / page.FOLDER
    page.write_part(folder, "one", "One", ["![a picture](one.png)", "## Deeper"], {"x": 1})
    (folder / "one.png").write_bytes(b"picture")
    first = {"command": "first", "seconds": 60.0, "version": "0.1.0"}
    page.join_parts(tmp_path, ["two", "one"], {"one": first})
    page.write_part(folder, "two", "Two", [], {"y": 2})
    page.join_parts(tmp_path, ["two", "one"], {"two": {"command": "second", "seconds": 30.0, "version": "0.2.0"}})
    text = (tmp_path / page.PAGE).read_text()
    assert "`second`, `first`" in text
    assert text.index("\n## Two\n") < text.index("\n## One\n") < text.index("\n### Deeper\n")
    assert "Measured by weightgpt 0.1.0 in 1.0 minutes." in text
    assert "![a picture](study/one.png)" in text
    parts = json.loads((tmp_path / page.FIGURES).read_text())["parts"]
    assert parts["one"] == {**first, "figures": {"x": 1}}
    page.publish(tmp_path, tmp_path / "docs")
    assert sorted(path.name for path in (tmp_path / "docs").rglob("*.*")) == ["one.png", "study.md"]


def test_an_unknown_part_is_refused():
    with pytest.raises(InputError, match="colors"):
        parse(program.PresentationConfig, "studies.presentation", ["--output", "x", "--parts", "colors"])


@pytest.mark.slow
def test_a_quick_study_writes_a_whole_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    arguments = ["--output", str(tmp_path / "out"), "--docs", str(tmp_path / "docs"), "--quick"]
    monkeypatch.setattr("sys.argv", ["presentation", *arguments, "--tokenizer", str(tmp_path / "tokenizer")])
    assert program.main() == 0
    text = (tmp_path / "docs" / page.PAGE).read_text()
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 9
    assert all((tmp_path / "docs" / name).is_file() for name in pictures)
    assert text.count(f"Measured by weightgpt {__version__} in ") == 4
    parts = json.loads((tmp_path / "out" / page.FIGURES).read_text())["parts"]
    assert list(parts) == ["conditioning", "permutation", "regression", "tokens"]
    assert parts["permutation"]["figures"]["restored_exactly"] == 4
    assert [row["steps"] for row in parts["regression"]["figures"]["rows"]] == [20] * 4
    assert [row["steps"] for row in parts["tokens"]["figures"]["rows"]] == [20] * 2
