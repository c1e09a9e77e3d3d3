"""The model card of a bundle: what it is, how it is loaded, and the figures that were measured of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from weightgpt.io import atomic_write
from weightgpt.tokens.tokenizer import WeightTokenizer

TAGS = ["gpt2", "weight-generation", "neural-field", "sdf", "3d"]


def write_card(folder: Path | str, figures: dict[str, Any], repo_id: str | None = None) -> None:
    """Write the model card of the bundle in `folder` to its README.md.

    Args:
        figures: measured values, nested dictionaries of numbers, shown as a table.
        repo_id: the name it is loaded by; a placeholder when None.

    Raises:
        InputError: the folder holds no tokenizer.
    """
    tokenizer = WeightTokenizer.from_pretrained(folder)
    name, quantizer = repo_id or "path/to/this/folder", tokenizer.quantizer
    rows = [f"| {key} | {value:.4g} |" for key, value in _numbers(figures)]
    data = ModelCardData(library_name="transformers", license="apache-2.0", tags=TAGS)
    text = CARD.format(
        name=name,
        title=name.rsplit("/", 1)[-1] if repo_id else "weightgpt",
        parameters=quantizer.field_config.parameters,
        tokens=quantizer.tokens_per_field,
        codes=quantizer.codebook_size,
        classes=", ".join(tokenizer.vocabulary.classes),
        fingerprint=quantizer.fingerprint,
        figures="\n".join(["## Figures", "", "| figure | value |", "|---|---|", *rows, ""]) if rows else "",
    )
    with atomic_write(Path(folder) / "README.md") as draft:
        ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}").save(draft)


CARD = """# {title}

A GPT-2 that writes shapes: its tokens are codes of the weights of a small neural field, whose zero level is the shape.

- A field has {parameters} weights, written as {tokens} tokens with {codes} codes.
- Classes: {classes}.
- Codebook: `{fingerprint}`.

```python
from weightgpt.hub import load_bundle
from weightgpt import mesh_sdf

bundle = load_bundle("{name}")
generated = bundle.sample(n=4, seed=0)
meshed = mesh_sdf(lambda points: generated.fields(points)[0, :, 0], resolution=96)
```

{figures}"""


def _numbers(figures: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key} / ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", value
