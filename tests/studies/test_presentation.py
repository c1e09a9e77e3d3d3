"""The study: its measures by hand, findings that follow the figures, the joined page, and a quick run of all parts."""

import json
import re
from pathlib import Path

import pytest
import torch

from studies.presentation import __main__ as cli_main
from studies.presentation import memory, page, permutation, regression, tokens
from studies.presentation.memory import Sweep
from studies.presentation.subjects import CONDITIONS, Subjects, explained, spread
from tests.fakes import generator, tiny_config, tiny_tokenizer
from weightgpt.errors import InputError
from weightgpt.fields.fitting import FitConfig
from weightgpt.fields.symmetry import permute, random_permutations
from weightgpt.tokens.vocabulary import NONE


def rows(condition: str, agreements: list[float], mean: float = 0.2, error: float = 0.5) -> list[dict]:
    counts = [2**i for i in range(len(agreements))]
    return [
        {
            "condition": condition,
            "fields": count,
            "free_agreement": agreement,
            "mean_agreement": mean,
            "free_error": error,
            "mean_error": 0.4,
        }
        for count, agreement in zip(counts, agreements, strict=True)
    ]


def test_distances_and_components_by_hand():
    assert spread(torch.eye(4)) == pytest.approx(2**0.5)
    assert spread(torch.ones(3, 5)) == 0
    assert spread(torch.ones(1, 5)) == 0
    line = torch.tensor([[-1.0], [0.0], [1.0]]) * torch.tensor([3.0, 4.0]) + 7
    assert explained(line) == pytest.approx([1, 1])
    cross = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])  # variance 18 along one axis, 2 along the other
    assert explained(cross)[:2] == pytest.approx([0.9, 1])


def test_errors_count_what_follows_the_start():
    true = torch.randn(3, regression.CONFIG.parameters, generator=generator(0))
    found = true.clone()
    found[:, : regression.START] += 5
    assert regression.relative_error(found, true) == 0
    found[:, regression.START :] = true[:, regression.START :].mean()
    assert regression.relative_error(found, true) == pytest.approx(1)


def test_memory_ends_at_the_first_count_that_is_not_remembered():
    found = rows("any", [1.0, 0.95, 0.7, 0.92, 0.3])
    assert memory.remembered(found) == 2
    assert memory.lost(found) == 16
    assert memory.remembered(rows("any", [0.1])) == 0
    assert memory.lost(rows("any", [1.0, 0.6])) is None
    assert "up to N = 2, by a mean agreement of 0.9 or more; from N = 16 on" in memory.told("So", found)
    assert "most that was tried" in memory.told("So", rows("any", [1.0, 1.0]))


def test_findings_follow_the_figures():
    claims = regression.findings(rows(CONDITIONS[0], [1, 0.4, 0.1]) + rows(CONDITIONS[1], [1, 1, 0.95], error=0.1))
    assert "unconditioned*: confirmed" in claims[0]
    assert "better*: confirmed. " in claims[1]
    assert "for N = 2, 4" in claims[2]
    claims = regression.findings(rows(CONDITIONS[0], [1, 1, 1]) + rows(CONDITIONS[1], [1, 1, 0.1], error=0.9))
    assert "not confirmed" in claims[0]
    assert "better*: not confirmed" in claims[1]
    assert "smaller than unconditioned for no N" in claims[1]
    claims = regression.findings(rows(CONDITIONS[0], [0.1, 0.1]) + rows(CONDITIONS[1], [0.1, 0.2], mean=0.3))
    assert "not tested" in claims[0]
    assert "better is not good" in claims[1]
    assert "for no N above 1" in claims[2]


def test_both_conditions_share_the_first_field_and_nothing_else():
    subjects = Subjects.draw(3, 0, 256)
    fits = subjects.fits(tiny_config(), FitConfig(steps=3, points_per_step=64))
    apart, joined = (fits[name].flat for name in CONDITIONS)
    assert torch.equal(apart[0], joined[0])
    assert (joined[1:] - joined[0]).norm(dim=1).max() < 0.5 * (apart[1:] - apart[0]).norm(dim=1).min()
    assert [shape.name for shape in Subjects.draw(2, 0, 256).shapes] == [shape.name for shape in subjects.shapes[:2]]
    assert subjects.agreement(fits[CONDITIONS[0]], fits[CONDITIONS[0]]).tolist() == [1, 1, 1]


def test_a_permuted_field_is_the_same_function_and_a_changed_one_is_not():
    subjects, config = Subjects.draw(1, 0, 256), permutation.CONFIG
    flat = torch.randn(2, config.parameters, generator=generator(1))
    moved = permute(config, flat, random_permutations(config, 2, 0))
    assert permutation.largest(subjects, flat, moved) < 1e-4
    assert permutation.largest(subjects, flat, flat + 0.1) > 1e-2


def test_free_and_taught_codes_are_those_of_a_plain_loop():
    words = tiny_tokenizer()
    shape = (3, words.quantizer.num_chunks, words.quantizer.num_quantizers)
    codes = torch.randint(words.quantizer.codebook_size, shape, generator=generator(2))
    ids = words.vocabulary.ids(codes, [NONE] * 3)
    model = tokens.new_model(words, Sweep.of(True), 0).eval()
    grown = ids[:, : tokens.HEAD]
    for place in range(tokens.HEAD, ids.shape[1] - 1):
        with torch.no_grad():
            legal = slice(words.vocabulary.legal[place].start, words.vocabulary.legal[place].stop)
            scores = (model(part).logits[:, -1, legal] for part in (ids[:, :place], grown))
            true, own = (part.argmax(-1) + legal.start for part in scores)
        assert torch.equal(tokens.taught(model, ids, words)[:, place], true)
        grown = torch.cat([grown, own[:, None]], 1)
    assert torch.equal(tokens.free(model, ids, words)[:, :-1], grown)
    words.vocabulary.parse(tokens.free(model, ids, words))


def test_parts_that_were_made_at_different_times_come_together(tmp_path: Path):
    folder = tmp_path / page.FOLDER
    page.write_part(folder, "one", "One", ["![a picture](one.png)", "## Deeper"], {"x": 1})
    (folder / "one.png").write_bytes(b"picture")
    page.join(tmp_path, ["two", "one"], {"one": {"command": "first", "seconds": 60.0}})
    page.write_part(folder, "two", "Two", [], {"y": 2})
    page.join(tmp_path, ["two", "one"], {"two": {"command": "second", "seconds": 30.0}})
    text = (tmp_path / page.PAGE).read_text()
    assert "`second`, `first`" in text
    assert text.index("\n## Two\n") < text.index("\n## One\n") < text.index("\n### Deeper\n")
    assert "![a picture](study/one.png)" in text
    found = json.loads((tmp_path / page.FIGURES).read_text())["parts"]
    assert found["one"] == {"command": "first", "seconds": 60, "figures": {"x": 1}}
    page.publish(tmp_path, tmp_path / "docs")
    assert sorted(path.name for path in (tmp_path / "docs").rglob("*.*")) == ["one.png", "study.md"]


def test_an_unknown_part_is_refused():
    with pytest.raises(InputError, match="'colors' is no part of the study; choose among conditioning"):
        cli_main.parse(["--output", "x", "--parts", "conditioning,colors"])


@pytest.mark.slow
def test_a_quick_study_leaves_a_whole_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    arguments = ["--output", str(tmp_path / "out"), "--docs", str(tmp_path / "docs"), "--quick"]
    monkeypatch.setattr("sys.argv", ["study", *arguments, "--tokenizer", str(tmp_path / "tokenizer")])
    assert cli_main.main() == 0
    text = (tmp_path / "docs" / page.PAGE).read_text()
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 9
    assert all((tmp_path / "docs" / name).is_file() for name in pictures)
    assert text.startswith("# The presentation's experiments\n\nWritten by `python -m studies.presentation --output ")
    parts = json.loads((tmp_path / "out" / page.FIGURES).read_text())["parts"]
    assert list(parts) == ["conditioning", "permutation", "regression", "tokens"]
    assert parts["permutation"]["figures"]["brought_back_exactly"] == 4
    assert [row["steps"] for row in parts["regression"]["figures"]["rows"]] == [20] * 4
    assert [row["steps"] for row in parts["tokens"]["figures"]["rows"]] == [20] * 2
