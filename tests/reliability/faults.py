"""The faults that the library is tested against, by number.

A test that covers number NN is called `test_fault_NN_…`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One fault or case."""

    description: str
    """What goes wrong or is tried, in one sentence."""
    group: str
    """The heading that it is listed under."""
    reason: str = ""
    """Why it does not apply, for a fault that has no test."""


GROUPS: dict[str, dict[str, str]] = {
    "Crashes and storage": {
        "01": "A fit is killed at a random moment and run again.",
        "02": "Any stage of the pipeline is killed and run again.",
        "02b": "Training is stopped and resumed after evaluations without a better loss; early stopping counts on.",
        "03": "A run is killed right after it has renamed a finished file.",
        "04": "A killed writer leaves temporary files; the next start removes them.",
        "05": "A run gets SIGTERM or Ctrl-C.",
        "06": "The disk is full when a file is written.",
        "07": "The output folder cannot be written to.",
        "08": "The output is on another file system than TMPDIR.",
        "09": "Two processes write to one output.",
        "10": "A dead process has left a lock.",
        "11": "Other users of the group want to read what was written.",
        "12": "The clock is set back between two starts.",
        "13": "A file of a run is cut short.",
        "14": "One byte of a file is flipped.",
        "15": "The newest checkpoint is broken or lacks a file.",
        "16": "A run is resumed with other settings or other inputs.",
        "17": "The power fails right after a file was written.",
    },
    "Files of unknown origin": {
        "18": "A pickle lies where a file is read.",
        "19": "The header of a safetensors file is broken.",
        "20": "A tensor has another name, type or shape, or is one too many.",
        "21": "Stored weights hold NaN or infinity.",
        "22": "A JSON file is nested deeply, very long, or has NaN, repeated or unknown keys.",
        "23": "An archive has members outside of its folder.",
        "24": "An archive is much larger than its file.",
        "25": "A small mesh file declares or unfolds to very many faces.",
        "26": "A mesh file names other files or addresses.",
        "27": "A file has a name that a shell, a terminal or UTF-8 does not take.",
        "28": "A model names code of its own.",
        "29": "A model on the Hub changes under its tag.",
    },
    "Meshes": {
        "30": "A mesh is empty, flat or has no volume.",
        "31": "Vertices are NaN, infinite, very large or all equal.",
        "32": "A mesh is open, inside out, or intersects itself.",
        "33": "A mesh has millions of faces.",
        "34": "A mesh is tiny, huge, or far from the origin.",
        "35": "Two files hold the same mesh.",
        "36": "A mesh file vanishes after it was listed.",
    },
    "Fits": {
        "37": "One shape of a batch cannot be fitted.",
        "38": "A shape is fitted or encoded with other neighbors, in another order, or on more threads.",
        "39": "The same fit runs twice.",
        "40": "A fit is much worse than the others.",
        "41": "A batch does not fit into memory.",
    },
    "Codebooks and tokens": {
        "42": "One field of many holds NaN when a codebook is learned.",
        "43": "There are fewer fields than codes, or all fields are equal.",
        "44": "Most codes of a codebook are unused.",
        "45": "Tokens are decoded and encoded again.",
        "46": "The weights of a field do not divide evenly into chunks.",
        "47": "Codebook, encoder, tokenizer and GPT come from different models.",
        "47b": "The numbers of a codebook are relabeled as another type.",
        "48": "The GPT has more or fewer tokens than its tokenizer.",
    },
    "Training and sampling": {
        "49": "The loss of the GPT becomes NaN.",
        "50": "One of two training processes is killed.",
        "51": "A sequence is too short, too long, or has a token where it is not allowed.",
        "52": "A longer sequence is asked for than the model has positions.",
        "53": "A sampling option is zero, tiny, huge or out of range.",
        "54": "A sample is generated alone and within other batches.",
        "55": "A sample equals a training sequence.",
    },
    "Decoding and evaluation": {
        "56": "A field has no surface.",
        "57": "A field has NaN or infinite values.",
        "58": "A mesh of very high resolution is asked for.",
        "59": "The mesher skips blocks of the grid.",
        "60": "Very few, equal, empty or broken shapes are evaluated.",
        "61": "Distances are compared with brute force and with known values.",
        "62": "There is no network.",
        "63": "The terminal or the file system does not speak UTF-8.",
        "64": "A worker process of a data loader is killed.",
    },
    "Further faults": {
        "71": "A folder with private files is pushed to the Hub.",
        "72": "An option or a path has an impossible length, size or character.",
        "73": "A setting cannot work in a late stage.",
        "74": "A file of fields has names with control characters, or extreme scales.",
        "75": "Two mesh files of a folder get the same name.",
        "76": "Two seeds differ only above their lowest 16 bits.",
        "79": "A small model file declares a very large model.",
        "81": "Several threads use one model.",
        "82": "More samples are asked for than memory holds.",
    },
}
"""Descriptions of the faults, by group and number."""

REASONS = {
    "41": "Fits run in batches of 16, and no command changes that.",
    "64": "The library starts no worker processes.",
}
"""Why a fault does not apply, by number."""

FAULTS = {
    number: Fault(description, group, REASONS.get(number, ""))
    for group, part in GROUPS.items()
    for number, description in part.items()
}
"""All faults by number."""

CASES = {
    number: Fault(description, "Meshes and the Hub")
    for number, description in {
        "01": "A GLB file has quantized, normalized positions.",
        "05": "A GLB file is compressed by Draco.",
        "09": "Hidden nodes or faces without area lie far from the object.",
        "12": "An OBJ file counts its vertices backwards, part by part.",
        "13": "An OBJ file has concave polygons.",
        "14": "Names and comments of a mesh file are not UTF-8, and only the wheel is installed.",
        "16": "STL text is written with capitals, several solids or without a last line.",
        "21": "One part of a mesh is inside out.",
        "22": "Some faces of a mesh are turned over.",
        "25": "Parts of a solid overlap or touch, or a wall divides it.",
        "29": "A mesh has the coordinates of a map.",
        "32": "The paths of several files give one name.",
        "37": "Files of a folder are moved before a run is resumed.",
        "38": "A process is killed while it writes the newest checkpoint.",
        "40": "The same meshes have several names.",
        "42": "A prompt is written by the tokenizer and continued by plain `generate`.",
        "44": "A model in a working folder is pushed to the Hub.",
        "47": "`info` names the volume of solids of known volume.",
        "51": "A first run has three mesh files and default settings.",
    }.items()
}
"""Cases of mesh files and the Hub, by number. A test that covers number NN is called `test_case_NN_…`."""
