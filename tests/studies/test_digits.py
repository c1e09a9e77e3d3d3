"""The digits study at a tiny size, on drawn discs, bars and rings; and each of its figures by hand."""

import dataclasses
import json

import pytest
import torch
from skimage.metrics import structural_similarity

from studies.digits import __main__ as digits
from studies.digits import comparison
from studies.digits.classifier import accuracy, train_classifier
from studies.digits.images import soft_occupancy
from studies.digits.metrics import ImageSet, image_set_metrics
from studies.digits.presets import PRESETS, QUICK
from tests.fakes import generator
from tests.studies.test_digit_images import write_idx
from training.presets import PipelineConfig
from weightgpt import __version__
from weightgpt.errors import InputError
from weightgpt.visual.rendering import pixel_centers


def draw_images(count: int, size: int = 28) -> ImageSet:
    """Images of discs (0), upright bars (1) and rings (2); no two are alike."""
    x, y = pixel_centers(size, size).T
    images, labels = [], torch.arange(count) % 3
    randoms = torch.rand(count, 3, generator=generator(0)).tolist()
    for label, (right, up, size_change) in zip(labels.tolist(), randoms, strict=True):
        radius = ((x - 0.2 * right) ** 2 + (y - 0.2 * up) ** 2).sqrt()
        bar = torch.maximum((x - 0.2 * right).abs() - 0.1 - 0.1 * size_change, (y - 0.2 * up).abs() - 0.6)
        distance = (radius - 0.4 - 0.2 * size_change, bar, (radius - 0.5).abs() - 0.1 - 0.1 * size_change)[label]
        images.append(soft_occupancy(distance, 0.02).reshape(size, size))
    return ImageSet(torch.stack(images), labels)


def write_images(folder, count: int) -> None:
    images = draw_images(count)
    images.images[-1] = 0  # a blank image has no outline
    write_idx(folder / "images-idx3-ubyte", (images.images * 255).round())
    write_idx(folder / "labels-idx1-ubyte", images.labels)


@pytest.mark.slow
def test_a_quick_run_writes_a_page_and_the_same_command_resumes(tmp_path, monkeypatch):
    write_images(tmp_path, 241)
    command = f"digits quick --corpus {tmp_path} --output {tmp_path / 'out'}"
    monkeypatch.setattr("sys.argv", command.split())
    assert digits.main() == 0
    figures = json.loads((tmp_path / "out" / "digits.json").read_text())
    assert figures["version"] == __version__
    assert figures["refused"] == 1
    assert figures["images"] == {"train": 144, "validation": 48, "test": 48}
    assert figures["accuracy_of_images"] > 0.9
    assert figures["accuracy"] > 0.6
    rows = {row["set"]: row for row in figures["rows"]}
    assert list(rows) == ["reference", "round-trip", "independent-codes", "ours, temperature 1", "ours"]
    assert rows["ours"]["accuracy"] > 0.6
    assert all(0 <= row[name] <= 1 for row in rows.values() for name in ("accuracy", "mmd", "cov", "one_nna"))
    assert [name for name, row in rows.items() if row["memorized_share"] is None] == ["reference", "round-trip"]
    page = (tmp_path / "out" / "digits.md").read_text()
    assert f"{rows['ours']['accuracy']:.3f}" in page
    assert all((tmp_path / "out" / name).is_file() for name in ("digits.png", "digits-nearest.png"))

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "run").rglob("*.safetensors")}
    assert digits.main() == 0
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert json.loads((tmp_path / "out" / "digits.json").read_text())["rows"] == figures["rows"]


def test_presets_are_planar_and_complete():
    for preset in PRESETS.values():
        assert preset.tokenizer.field.in_features == 2
        assert PipelineConfig.from_dict(preset.to_dict()) == preset


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="has 0 files"):
        digits.run_study(dataclasses.replace(QUICK, corpus=str(tmp_path)), tmp_path / "out", "")


def test_shapes_are_named_by_the_number_of_their_image(tmp_path):
    images = draw_images(30)
    images.images[4] = 0
    split, refusals = digits.load_split(QUICK, images)
    assert [refusal.path.name for refusal in refusals] == ["4"]
    assert len(split.train) == 2 * (29 - len(split.validation) - len(split.test))
    for shape in split.all:
        number = int(shape.name.split("~")[0])
        assert shape.label == str(int(images.labels[number]))
        if "~" not in shape.name:
            inside = shape.sdf(pixel_centers(28, 28)) < 0
            assert (inside == (images.images[number].flatten() > 0.5)).float().mean() > 0.96


def test_the_classifier_learns_its_classes_and_wrong_labels_lower_its_accuracy():
    images = draw_images(240)
    model = train_classifier(images.images[:180], images.labels[:180], seed=0, epochs=10, batch_size=16)
    assert accuracy(model, images.images[180:], images.labels[180:]) > 0.9
    assert accuracy(model, images.images[180:], (images.labels[180:] + 1) % 3) < 0.1


def test_set_metrics_follow_their_definitions():
    """MMD, COV and 1-NNA of Yang et al. 2019, image by image with scikit-image's SSIM."""
    generated, true = torch.rand(6, 9, 9, generator=generator(1)), torch.rand(6, 9, 9, generator=generator(2))
    generated[:3] = true[:3] * 0.9
    generated[4] = generated[3] * 0.9

    def distance(a: torch.Tensor, b: torch.Tensor) -> float:
        return 1 - structural_similarity(a.numpy(), b.numpy(), data_range=1.0)

    metrics = image_set_metrics(generated, true)
    assert metrics["mmd"] == pytest.approx(sum(min(distance(g, r) for g in generated) for r in true) / 6, abs=1e-5)
    assert metrics["cov"] == len({min(range(6), key=lambda i: distance(g, true[i])) for g in generated}) / 6
    union = [*generated, *true]
    nearest = [min((distance(x, y), j) for j, y in enumerate(union) if j != i)[1] for i, x in enumerate(union)]
    assert metrics["one_nna"] == pytest.approx(sum((i < 6) == (j < 6) for i, j in enumerate(nearest)) / 12)
    assert 0 < metrics["one_nna"] < 1


def test_each_row_is_used_for_one_class_only():
    labels = torch.tensor([1, 0, 1, 0, 1])
    assert comparison.rows_with_labels(labels, torch.tensor([1, 1, 0, 1])).tolist() == [0, 2, 1, 4]


def test_the_accurate_setting_of_the_lowest_1_nna_is_chosen():
    rows = [{"accuracy": share, "one_nna": value} for share, value in ((0.95, 0.7), (0.96, 0.6), (0.8, 0.5))]
    assert comparison.choose_sampling(rows) is rows[1]
    assert comparison.choose_sampling(rows[2:]) is rows[2]
