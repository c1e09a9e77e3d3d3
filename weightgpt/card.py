"""The model card: what a model is, how to load it, and the metrics that were measured."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from weightgpt.formatting import format_number, markdown_table
from weightgpt.io import atomic_write
from weightgpt.tokens.tokenizer import WeightTokenizer

CARD_FILE = "README.md"
NO_REPO = "path/to/this/folder"
"""The name in the example of a card whose model is on no Hub yet."""
TAGS = ["gpt2", "weight-generation", "neural-field", "sdf", "3d"]


def write_card(
    folder: Path | str, metrics: Mapping[str, Any], repo_id: str | None = None, *, credit: str | None = None
) -> None:
    """Write the model card of the model in `folder` to its README.md.

    Args:
        folder: the folder of a model.
        metrics: measured values, nested dictionaries of numbers; the card shows them as a table.
        repo_id: the name of the model on the Hub; a placeholder when None.
        credit: a sentence about data whose terms bind the model. The card shows it, and its license is then `other`.

    Raises:
        InputError: the folder holds no tokenizer.
    """
    tokenizer = WeightTokenizer.from_pretrained(folder)
    quantizer, name = tokenizer.quantizer, repo_id or NO_REPO
    data = ModelCardData(library_name="transformers", license="other" if credit else "apache-2.0", tags=TAGS)
    text = TEMPLATE.format(
        name=name,
        title=name.rsplit("/", 1)[-1] if repo_id else "weightgpt",
        parameters=quantizer.field_config.parameters,
        tokens=quantizer.tokens_per_field,
        codes=quantizer.codebook_size,
        classes=_plain(", ".join(tokenizer.vocabulary.classes)).replace("_", r"\_"),
        prompt=json.dumps(f"<class:{tokenizer.vocabulary.classes[-1]}>", ensure_ascii=False),
        fingerprint=quantizer.fingerprint,
        credit=f"- {credit}\n" if credit else "",
        metrics=_metrics_section(metrics),
    )
    with atomic_write(Path(folder) / CARD_FILE) as draft:
        ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}").save(draft)


TEMPLATE = """# {title}

A GPT-2 that writes shapes. Its tokens are codes of the weights of a small neural field; the zero level of the field
is the surface of the shape.

- A field has {parameters} weights; {tokens} tokens encode them, each one of {codes} codes.
- Classes: {classes}.
- Codebook: `{fingerprint}`.
{credit}
```python
import weightgpt as wg

model = wg.WeightGPT.from_pretrained("{name}")
shapes = model.generate(n=4, seed=0)
shapes.render().save("shapes.png")
shapes[0].to_mesh(resolution=96).export("shape.glb")
```

With transformers alone; a class is the prompt, and the ids decode:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

gpt, tokenizer = AutoModelForCausalLM.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")
ids = gpt.generate(**tokenizer({prompt}, return_tensors="pt"))
field = model.tokenizer.decode(ids[0])
```

{metrics}"""


def rename_model(card: str, repo_id: str) -> str:
    """Put the name on the Hub into the example of a card that was written for a folder.

    Args:
        card: the text of a card.
        repo_id: "owner/name".
    """

    def renamed(match: re.Match[str]) -> str:
        name = match[2]
        is_path = name == NO_REPO or name.count("/") != 1 or name.startswith((".", "~", "/"))
        return match[1] + (repo_id if is_path else name) + match[3]

    return re.sub(r"(\w+\.from_pretrained\([\"'])([^\"'\n]*)([\"'])", renamed, card.replace(NO_REPO, repo_id))


def _metrics_section(metrics: Mapping[str, Any]) -> str:
    """The table of metrics below its heading; nothing if there are none."""
    rows = [(_plain(key), format_number(value)) for key, value in _flatten(metrics)]
    return f"## Metrics\n\n{markdown_table(('metric', 'value'), rows)}\n" if rows else ""


def _plain(text: str) -> str:
    """Markdown that shows a text, such as the name of a class, as it is."""
    return re.sub(r"([\\`*{}\[\]()#+!|~<>])", r"\\\1", text)


def _flatten(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested dictionaries with the path of their keys; other values are left out."""
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key} / ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", value
