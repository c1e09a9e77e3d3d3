"""Where the shapes of a corpus come from: files, or a stream that draws them without end."""

from collections.abc import Callable
from pathlib import Path

from training.data.box_files import PARTNET_FILES
from training.data.distance_tables import parquet_files
from training.presets import BUILT_IN_CORPUS, COMPOSITIONS, PipelineConfig
from training.resume.digests import FileRecord, file_record, records
from training.resume.manifest import mesh_records
from weightgpt.shapes.compositions.stream import lazy_compositions
from weightgpt.shapes.families import lazy_shapes
from weightgpt.shapes.lazy import LazySequence
from weightgpt.shapes.shape import Shape

STREAMS: dict[str, Callable[[int, int, int], LazySequence[Shape]]] = {
    BUILT_IN_CORPUS: lazy_shapes,
    COMPOSITIONS: lazy_compositions,
}
"""The drawn corpora: functions of the number of the first shape, the number of shapes, and the seed."""


def partnet_paths(config: PipelineConfig) -> dict[str, Path]:
    """The file of each class of a PartNet corpus.

    Args:
        config: the configuration of a run with a `corpus_folder`.
    """
    return {label: Path(str(config.corpus_folder), PARTNET_FILES[label]) for label in config.partnet_classes}


def source_records(config: PipelineConfig) -> dict[str, FileRecord]:
    """The records of all files that the shapes of a run are read from, by their paths within the folder.

    Args:
        config: the configuration of the run.
    """
    if config.is_stream:
        return {}
    if config.partnet_classes:
        paths = [path for path in partnet_paths(config).values() if path.is_file()]
        return records(Path(str(config.corpus_folder)), paths)
    if config.is_table:
        path = Path(config.corpus)
        files = [file for file in parquet_files(path) if file.is_file()]
        if path.is_dir():
            return records(path, files)
        return {f"file {number}": file_record(file) for number, file in enumerate(files)}  # it may be renamed
    return mesh_records(Path(config.corpus))
