"""The shapes of a run: equal files on one side, few files with enough copies, impossible sizes refused."""

from dataclasses import replace

import pytest
import trimesh

from tests.conftest import TINY
from tests.fakes import sphere_shape, tiny_config, tiny_corpus
from tokenization.presets import TokenizerConfig
from tokenization.registry import NAMES, find_learner, learn_quantizer
from training.limits import check_codes, check_memory, check_sizes, enough_augmentations
from training.presets import BUILT_IN, BUILT_IN_WEIGHT_VQ, MESH_FILES, MESH_FILES_WEIGHT_VQ, PipelineConfig
from training.splits import load_split, tell_duplicates
from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig
from weightgpt.shapes.meshes import Shapes
from weightgpt.shapes.shape import Shape
from weightgpt.shapes.splits import split_shapes


def named(name: str, digest: str | None = None, label: str = "ball", notes: tuple[str, ...] = ()) -> Shape:
    return replace(sphere_shape(0.5), name=name, digest=digest, label=label, notes=notes)


def fifteen() -> list[Shape]:
    """Five geometries under three names each, as in collections of meshes."""
    return [named(f"{i}-{copy}", digest=f"{i}") for copy in range(3) for i in range(5)]


@pytest.mark.parametrize("seed", range(5))
def test_fault_35_and_case_40_equal_files_stay_on_one_side_and_are_named(capsys, seed):
    tell_duplicates(fifteen())
    split = split_shapes(fifteen(), 0.4, seed)
    sides = [{shape.digest for shape in side} for side in (split.train, split.validation, split.test)]
    assert sorted(name for side in sides for name in side) == list("01234")
    assert len(split.all) == 15
    said = capsys.readouterr().err
    assert "duplicates: 10 files have the geometry of another file (0-0 = 0-1 = 0-2; " in said


def test_case_40_equal_files_of_two_classes_are_on_one_side(capsys):
    shapes = [named(f"{i}", digest=f"{i % 4}", label="ab"[i // 4]) for i in range(8)]
    tell_duplicates(shapes)
    split = split_shapes(shapes, 0.5, 0)
    assert not {shape.digest for shape in split.train} & {shape.digest for shape in split.test}
    assert "4 files have the geometry of another" in capsys.readouterr().err


def test_many_groups_are_counted(capsys):
    tell_duplicates([named(f"{i}", digest=f"{i % 20}") for i in range(40)])
    assert "and 15 more groups" in capsys.readouterr().err


def test_shapes_without_a_digest_are_different(capsys):
    shapes = [named(f"{i}") for i in range(10)]
    tell_duplicates(shapes)
    assert capsys.readouterr().err == ""


def test_notes_of_shapes_are_on_the_console(monkeypatch, capsys):
    shapes = [named(f"{i}", notes=("two parts were flipped.",) if i == 3 else ()) for i in range(10)]
    monkeypatch.setattr("training.splits.load_shapes", lambda _, thickness: Shapes(tuple(shapes)))
    load_split(replace(TINY, corpus="meshes", num_extra_shapes=0))
    assert "3: two parts were flipped." in capsys.readouterr().err


def test_case_32_notes_of_the_folder_are_on_the_console(tmp_path, capsys):
    for label in ("Chair", "chair"):
        write_boxes(tmp_path, 10, label)
    load_split(replace(TINY, corpus=str(tmp_path), num_extra_shapes=0))
    assert "classes 'Chair' and 'chair' look equal" in capsys.readouterr().err


def write_boxes(folder, count, label="chair"):
    (folder / label).mkdir(parents=True)
    for i in range(count):
        trimesh.creation.box((1, 1 + 0.1 * i, 1.5)).export(folder / label / f"{i}.obj")


@pytest.mark.parametrize(("files", "train"), [(3, 256), (7, 260), (10, 72), (40, 288)])
def test_case_51_few_files_get_enough_copies_for_the_codebook(tmp_path, capsys, files, train):
    """Four chunks: 256 shapes give 1,024 latents for 256 codes, and the 8 copies of 8 files or more give enough."""
    write_boxes(tmp_path, files)
    split, _ = load_split(replace(MESH_FILES, corpus=str(tmp_path)))
    assert len(split.train) == train
    assert ("copies of each file instead of 8" in capsys.readouterr().err) == (files < 10)


def test_case_51_a_codebook_that_needs_thousands_of_copies_of_each_file_is_refused(capsys):
    def config(codes: int) -> PipelineConfig:
        codebook = replace(MESH_FILES.tokenizer.codebook, codebook_size=codes)
        return replace(MESH_FILES, tokenizer=replace(MESH_FILES.tokenizer, codebook=codebook))

    assert enough_augmentations(config(12_012), 12) == 1000
    sentence = r"12 training files .* 1,001 copies each for 12,024 codes, .*codebook_size of 12012 or less\."
    with pytest.raises(InputError, match=sentence):
        enough_augmentations(config(12_024), 12)
    assert "1000 copies of each file" in capsys.readouterr().err


@pytest.mark.parametrize("files", [1, 2])
def test_case_51_too_few_files_are_refused_at_once(tmp_path, files):
    write_boxes(tmp_path, files)
    with pytest.raises(
        InputError, match=f"{files} shapes are too few to hold any out; give at least 3 different ones of a class"
    ):
        load_split(replace(MESH_FILES, corpus=str(tmp_path)))


def test_enough_copies_are_left_alone(capsys):
    assert enough_augmentations(MESH_FILES, 200) == MESH_FILES.augmentations
    assert enough_augmentations(MESH_FILES_WEIGHT_VQ, 1) == MESH_FILES.augmentations
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_shapes": 24}, "24 training shapes give 96 latents for 256 codes; give more num_shapes, or a tokenizer"),
        ({"num_held_out": 1}, "leaves|hold|validation"),
        ({"num_shapes": 10**9}, "GB of memory"),
        ({"num_extra_shapes": 10**9}, "GB of memory"),
        ({"num_eval_points": 10**9}, "96 test shapes at 1,000,000,000 points, need .* GB of memory"),
        ({"num_shapes": 1000, "tokenizer": replace(BUILT_IN.tokenizer, num_points=10_000_000)}, "at 10,[0-9,]+ points"),
        (
            {"gpt": replace(BUILT_IN.gpt, batch_size=100_000)},
            r"give at least 100000 \(batch_size\)",
        ),
    ],
)
def test_fault_73_sizes_that_cannot_work_are_refused_before_any_work(changes, sentence):
    config = replace(BUILT_IN, **changes)
    with pytest.raises(InputError, match=sentence):
        check_sizes(config, config.num_shapes, config.num_held_out // 2, config.num_extra_shapes)


@pytest.mark.parametrize("kind", [name for name in NAMES if find_learner(name).vectors])
def test_fault_73_too_few_plain_fits_for_a_weight_quantizer_are_refused_before_any_work(kind):
    """The learner itself takes the least number of fits that is allowed here, and refuses one fit less."""
    field = tiny_config()
    sizes = find_learner(kind).vectors
    least = max(2, -(-sizes.codes // sizes.per_fit(field.parameters)))

    def config(fits: int) -> PipelineConfig:
        tokenizer = replace(BUILT_IN_WEIGHT_VQ.tokenizer, kind=kind, field=field, num_init_fits=fits)
        return replace(BUILT_IN_WEIGHT_VQ, tokenizer=tokenizer)

    check_codes(config(least), least)
    for fits, shapes in ((least - 1, least), (least, least - 1)):
        with pytest.raises(InputError, match=rf"num_init_fits of {least} or more, and at least as many"):
            check_codes(config(fits), shapes)
    learn_quantizer(tiny_corpus(least), TokenizerConfig(kind=kind))
    if least > 2:
        with pytest.raises(InputError, match="codes; learn from more shapes or ask for fewer codes"):
            learn_quantizer(tiny_corpus(least - 1), TokenizerConfig(kind=kind))


def test_fault_73_fields_too_small_for_a_weight_quantizer_are_refused():
    field = FieldConfig(hidden=(1,), num_frequencies=0)
    tokenizer = replace(BUILT_IN_WEIGHT_VQ.tokenizer, kind="product-vq", field=field)
    config = replace(BUILT_IN_WEIGHT_VQ, tokenizer=tokenizer)
    with pytest.raises(InputError, match="are too small for 8 groups of vectors of 4; give wider layers"):
        check_codes(config, 100)


def test_the_presets_fit_this_machine():
    for config in (BUILT_IN, TINY):
        check_sizes(config, config.num_shapes, config.num_held_out // 2, config.num_extra_shapes)
        check_memory(config, 0, 0, 0)


@pytest.mark.parametrize("setting", ["num_shapes", "num_eval_points"])
def test_fault_73_shapes_that_do_not_fit_the_memory_are_refused(setting):
    with pytest.raises(InputError, match="GB of memory"):
        load_split(replace(BUILT_IN, **{setting: 10**9}))


def test_fault_73_points_that_do_not_fit_the_memory_are_refused_with_files_too(tmp_path, monkeypatch):
    monkeypatch.setattr("training.limits.memory_limit", lambda: 16e9)
    write_boxes(tmp_path, 10)
    with pytest.raises(InputError, match="test shapes at 1,000,000,000 points, need"):
        load_split(replace(MESH_FILES, corpus=str(tmp_path), num_eval_points=10**9))


def test_fault_73_a_place_that_the_trainer_cannot_report_to_is_refused_before_any_work():
    config = replace(BUILT_IN, gpt=replace(BUILT_IN.gpt, report_to="bogus"))
    with pytest.raises(InputError, match="report_to is 'bogus'; choose one of none"):
        check_sizes(config, config.num_shapes, config.num_held_out // 2, config.num_extra_shapes)
