"""The comparison: rows by hand, costs by hand, and a page that shows what was measured."""

import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from tests.fakes import sphere_shape, tiny_codebook, tiny_gpt, tiny_tokenizer
from training.baselines import __main__ as baselines
from training.compare import __main__ as compare
from training.compare import flops as costs
from training.compare import page as compare_page
from training.compare import reference_sets as load_reference_sets
from training.presets import PipelineConfig
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json
from weightgpt.metrics.evaluator import EMPTY_METRICS
from weightgpt.metrics.set_metrics import LOWER_IS_BETTER
from weightgpt.metrics.shape_set import mesh_shapes


def test_independent_codes_keep_the_class_and_the_place():
    ids = torch.tensor([[0, 10, 20], [0, 11, 21], [1, 12, 22], [1, 13, 23]])
    labels = ["a", "a", "b", "b"]
    rows = compare.independent(ids, labels, 200, 0)
    for row in rows.tolist():
        known = ids[:2] if row[0] == 0 else ids[2:]
        assert all(value in known[:, place] for place, value in enumerate(row))
    mixed = {tuple(row) for row in rows.tolist()}
    assert {(0, 10, 21), (0, 11, 20), (1, 12, 23), (1, 13, 22)} <= mixed
    assert 60 < int((rows[:, 0] == 0).sum()) < 140
    assert torch.equal(rows, compare.independent(ids, labels, 200, 0))


def test_noise_is_in_standard_deviations_of_each_number():
    values = torch.randn(4000, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 10.0])
    noise = compare.noisy(values, 0.5, 0) - values
    assert noise.std(0).tolist() == pytest.approx([0.5, 5.0], rel=0.1)
    assert torch.equal(compare.noisy(values, 0.0, 0), values)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="finished run"):
        load_reference_sets.load_reference_sets(tmp_path, 4)
    (tmp_path / "model").mkdir()
    for count, sets in ((1, 1), (4, 0)):
        with pytest.raises(InputError, match=f"{sets} sets of {count} shapes"):
            load_reference_sets.load_reference_sets(tmp_path, count, sets)


def test_rows_of_training_shapes_have_no_more_sets_than_there_are_shapes():
    nothing = dict.fromkeys(field.name for field in fields(load_reference_sets.ReferenceSets))
    drawn, files = PipelineConfig(augmentations=1), PipelineConfig(corpus="meshes", augmentations=1)
    for config, sets, known in ((drawn, 1, 3), (drawn, 2, 6), (drawn, 5, 6), (files, 2, 3), (files, 5, 3)):
        given = {"config": config, "train": [sphere_shape(0.5)] * 8, "count": 3, "sets": sets}
        here = load_reference_sets.ReferenceSets(**{**nothing, **given})
        assert (here.known, here.total) == (known, 3 * sets)


def test_costs_by_hand():
    book = tiny_codebook()
    latent_decoder = book.latent_decoder.inner.weight.numel() + book.latent_decoder.outer.weight.numel()
    assert costs.decode_flops(book) == 2 * (latent_decoder + book.basis.numel())
    model = tiny_gpt(tiny_tokenizer().vocabulary)
    small, large = (costs.step_flops(model, batch, model.config.n_positions) for batch in (1, 4))
    assert large == 4 * small  # matrix products of a transformer grow with the batch
    weights = sum(p.numel() for p in model.transformer.h.parameters() if p.ndim == 2)
    assert small > 6 * weights * model.config.n_positions * 0.9  # forward once, backward twice
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_the_page_shows_the_rows_in_order_with_their_intervals(tmp_path: Path):
    atomic_write = {
        "corpus": "balls",
        "held_out": 8,
        "size": 4,
        "sets": 2,
        "command": "python -m training.compare",
        "count": 4,
        "empty": 0.0,
    }
    atomic_write |= {"points": 2048, "emd": 3}
    mine = {"mmd": 0.05, "mmd_interval": [0.04, 0.06], "one_nna": 0.5, "one_nna_interval": [0.25, 0.75]}
    mine |= {"emd_compared": 3, "mmd_emd": 0.125, "cov_emd": 1.0, "one_nna_emd": 0.625}
    write_json(
        tmp_path / "balls" / "ours.json",
        {**atomic_write, **mine, "row": "ours", "temperature": 1.15, "train_flops": 2e12, "parameters": 12345},
    )
    sweep = [
        {"amount": 0.1, "mmd": 0.1, "cov": 0.5, "one_nna": 0.6, "memorized_share": 0.0, "nearest_train_ratio": 1.25}
    ]
    write_json(tmp_path / "balls" / "limit.json", {**atomic_write, "row": "limit", "noise": 0.1, "noise_sweep": sweep})
    compare_page.write(tmp_path)
    found = read_json(tmp_path / compare_page.ROWS)
    assert [row["row"] for row in found["rows"]] == ["limit", "ours"]
    assert found["commands"] == ["python -m training.compare"]
    text = (tmp_path / compare_page.PAGE).read_text()
    assert "5.000 [4.000, 6.000]" in text
    assert "12,345 | 2.0e+12" in text
    assert "| limit (kept) | 0.100 | 10.000 | 0.500 | 0.600 | 0.000 | 1.250 |" in text
    assert "2 sets of 4 shapes, 8 held-out ones, 2,048 points on each surface." in text
    assert "points of the first 3 shapes of each set:\n\n" in text
    assert "ours, sampled at a temperature of 1.15\n" in text
    assert "| ours | 3 | 12.500 | 1.000 | 0.625 |" in text


@pytest.mark.parametrize(("share", "ratio", "new"), [(0.05, 1.0, True), (0.06, 1.2, False), (0.0, 0.99, False)])
def test_noise_is_new_if_both_figures_of_the_guard_say_so(share: float, ratio: float, new: bool):
    assert compare.is_new({"memorized_share": share, "nearest_train_ratio": ratio}) is new


def test_rows_may_differ_in_the_number_of_their_sets():
    rows = [{"sets": sets, "size": 4, "held_out": 4 * sets} for sets in (300, 16)]
    assert compare_page.sized(rows) == "16 to 300 sets of 4 shapes, 64 to 1,200 held-out ones"
    assert compare_page.sized([{"sets": 1, "size": 4, "held_out": 4}]) == "A set of 4 shapes, 4 held-out ones"


def test_rows_of_another_run_are_named():
    rows = [{"row": "limit", "codebook": "a"}, {"row": "flow-matching"}, {"row": "ours", "codebook": "a"}]
    assert compare_page.strangers([rows[0], rows[2]]) == []
    assert compare_page.strangers(rows)[0].endswith("codebook was another: flow-matching.")


def test_ours_is_told_beside_the_other_rows():
    def row(name: str, mmd: float, cov: float, one_nna: float, count: int = 4) -> dict:
        found = {"row": name, "mmd": mmd, "cov": cov, "one_nna": one_nna, "count": count, "size": 4}
        return found | {f"{key}_interval": [found[key] - 0.1, found[key] + 0.1] for key in LOWER_IS_BETTER}

    rows = [row("limit", 0.5, 0.6, 0.4), row("far", 0.9, 0.5, 0.9), row("few", 1.0, 0.1, 1.0, count=3)]
    assert compare_page.beside(rows) == []
    text = "\n".join(compare_page.beside([*rows, row("ours", 0.5, 0.6, 0.55)]))
    assert "| limit | equal | equal | better |" in text
    assert "| far | **better** | better | **better** |" in text
    assert "| few |" not in text
    assert "slanted" not in text


def test_the_limit_is_told_beside_the_strongest_rivals():
    def row(name: str, middle: float) -> dict:
        found = {"row": name, "lead": {"mmd": (0.01, 0.02)}, **dict.fromkeys(LOWER_IS_BETTER, middle)}
        return found | {f"{key}_interval": [middle - 0.1, middle + 0.1] for key in LOWER_IS_BETTER}

    rivals = [row("weight-diffusion", 0.55), row("flow-matching", 0.8), row("ours", 0.6)]
    assert compare_page.hoped(rivals) == []
    text = "\n".join(compare_page.hoped([row("limit", 0.5), *rivals]))
    assert "| weight-diffusion | better | worse | better |" in text  # the leads are those of ours
    assert "| flow-matching | **better** | **worse** | **better** |" in text
    assert "ours" not in text
    assert compare_page.hoped([row("limit", 0.5)]) == []


def test_rows_that_share_their_held_out_shapes_are_compared_shape_by_shape():
    def row(name: str, mmd: list[float], one_nna: list[float]) -> dict:
        figures = {"mmd": sum(mmd) / len(mmd), "cov": 0.5, "one_nna": sum(one_nna) / len(one_nna)}
        per_shape_values = {"mmd": mmd, "cov": [0.5] * len(mmd), "one_nna": one_nna}
        found = {"corpus": "balls", "row": name, "count": 8, "size": 4, "per_shape_values": per_shape_values, **figures}
        return found | {f"{key}_interval": [figures[key] - 0.5, figures[key] + 0.5] for key in LOWER_IS_BETTER}

    hard = [0.1, 0.9, 0.5, 0.3]  # some held-out shapes are hard for all, so that the figures themselves overlap
    nearer, mixed = [x - 0.05 for x in hard], [0.2, 0.8, 0.6, 0.1]
    rows = [row("mixed", mixed, [0.6] * 8), row("far", hard, [0.9] * 8), row("short", hard[:3], [0.1] * 8)]
    told = compare_page.with_leads([*rows, row("ours", nearer, [0.45] * 8)])
    assert told[1]["lead"]["mmd"] == pytest.approx((0.05, 0.05))
    assert all("per_shape_values" not in row for row in told)
    assert "lead" not in told[-1]
    text = "\n".join(compare_page.beside(told))
    assert "slanted" in text
    assert "| mixed | better | equal | *better* |" in text
    assert "| far | *better* | equal | *better* |" in text
    assert "| short | better | equal | *better* |" in text


def test_a_rival_without_fields_has_its_cost_and_its_loss_for_a_picture(tmp_path: Path):
    cost = dict.fromkeys(("parameters", "train_flops", "sample_flops", "seconds", "bytes", "steps"), 7)
    stages = {"autoencoder": {"history": [[1, 5.0], [2, 4.0]]}, "transformer": {"history": []}}
    write_json(tmp_path / "meshgpt" / "cost.json", {**cost, "samples": 8, "closed": 2, "stages": stages})
    assert compare.names(tmp_path)[-3:] == ["meshgpt", "ours-independent", "ours"]
    sdfs, known = compare.of_rival(tmp_path / "meshgpt", 4)
    assert sdfs is None
    assert (known["count"], known["compared"], known["invalid"]) == (8, 0, 0.75)
    assert known["curves"] == {"autoencoder": [[1, 5.0], [2, 4.0]], "transformer": []}
    compare_page.plot(tmp_path / "out" / "balls" / "meshgpt.png", known["curves"])
    assert (tmp_path / "out" / "balls" / "meshgpt.png").stat().st_size > 1000
    asked = {"corpus": "balls", "row": "meshgpt", "held_out": 4, "points": 512, "emd": 64, "command": "it"}
    asked |= {"size": 4, "sets": 1}
    write_json(tmp_path / "out" / "balls" / "meshgpt.json", {**asked, **EMPTY_METRICS, **known})
    compare_page.write(tmp_path / "out")
    text = (tmp_path / "out" / compare_page.PAGE).read_text()
    assert "a share of 0.750 of its 8 samples has no closed surface. Its loss:\n\n![meshgpt](balls/meshgpt.png)" in text
    assert "| meshgpt | 8 | – |" in text
    assert "earth mover" not in text
    write_json(tmp_path / "other" / "cost.json", cost)
    with pytest.raises(InputError, match="neither fields nor curves"):
        compare.of_rival(tmp_path / "other", 4)


def test_a_strip_is_drawn(tmp_path: Path):
    compare_page.draw(
        tmp_path / "x" / "row.png", mesh_shapes([sphere_shape(0.5).sdf] * 2, seed=0, resolution=16, points=32)
    )
    assert (tmp_path / "x" / "row.png").stat().st_size > 1000


def run_main(monkeypatch: pytest.MonkeyPatch, main, line: str) -> None:
    monkeypatch.setattr("sys.argv", line.split())
    assert main() == 0


@pytest.mark.slow
def test_a_run_is_compared_twice_to_the_digit_and_then_left_alone(finished: Path, tmp_path: Path, monkeypatch):
    shutil.copytree(finished, tmp_path / "run")
    line = "baselines --run ../run --budget 2e10 --samples 4 --rival flow-matching --output ../rivals/flow-matching"
    told = dict.fromkeys(("parameters", "train_flops", "sample_flops", "seconds", "bytes", "steps"), 7)
    told |= {"samples": 8, "closed": 2, "stages": {"autoencoder": {"history": [[1, 5.0], [2, 4.0]]}}}
    write_json(tmp_path / "rivals" / "meshgpt" / "cost.json", told)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        run_main(monkeypatch, baselines.main, line)
        options = "--run ../run --rivals ../rivals --count 3 --sets 2 --points 256 --emd 3 --output out"
        run_main(monkeypatch, compare.main, f"compare {options}")
        shutil.rmtree(tmp_path / "run" / "fits" / "compared-6")
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")} for name in ("one", "two"))
    assert one == two
    rows = {row["row"]: row for row in read_json(tmp_path / "two" / "out" / compare_page.ROWS)["rows"]}
    assert list(rows) == [name for name in compare_page.ORDER if name in rows]
    assert len(rows) == 10
    assert all(row["points"] == 256 and row["held_out"] == 6 for row in rows.values())
    assert all((row["size"], row["sets"]) == (3, 2) for row in rows.values())
    assert not any("lead" in row for row in rows.values())  # held-out shapes are drawn anew for each set
    assert (rows["ours"]["count"], rows["ours"]["compared"]) == (6, 6)
    assert rows["ours"]["mmd"] != rows["ours-independent"]["mmd"]
    assert rows["ours"]["gpt"] == rows["ours-independent"]["gpt"]
    assert [name for name, row in rows.items() if row["thin_recall"] is not None] == list(compare.PAIRED)
    assert [name for name, row in rows.items() if row["mmd"] is None] == ["meshgpt"]
    assert rows["limit"]["emd_compared"] == 3
    assert rows["limit"]["memorized_share"] == 1  # they are training shapes
    assert rows["limit"]["nearest_train_ratio"] < 0.1
    assert 0 < rows["round-trip"]["thin_recall"] <= 1
    assert rows["flow-matching"]["count"] == 4
    assert rows["ours"]["train_flops"] > 0
    monkeypatch.setattr(load_reference_sets, "mesh_shapes", None)  # what was measured is only read
    run_main(monkeypatch, compare.main, f"compare {options}")
