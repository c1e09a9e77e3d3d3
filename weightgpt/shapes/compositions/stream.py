"""Free compositions of primitives, drawn from a seed as a stream.

Decisions:

- Shape i depends only on the seed and on i. A composition has no class.
- Each composition has a style of its own: the kinds that it prefers, how thin its plates and rods are, how many of its
  parts are cut, and how many are tilted. Most stand upright, the others lie in any direction.
- Every shape is centered in the unit cube and has a longest side of 1.65 to 1.8, as the built-in families have.
"""

import numpy as np

from weightgpt.errors import InputError
from weightgpt.shapes.compositions.assembly import MAX_ROWS, assemble, turn_about
from weightgpt.shapes.compositions.distances import Composition
from weightgpt.shapes.compositions.parts import Parts, bounding_box, place_parts, scale_parts
from weightgpt.shapes.compositions.pieces import Style
from weightgpt.shapes.compositions.profiles import Rng, pick
from weightgpt.shapes.lazy import LazySequence
from weightgpt.shapes.shape import Shape

MAX_PIECES = 22
"""Most pieces of a composition, copies not counted."""
_STREAM = int.from_bytes(b"compositions")  # keeps the numbers apart from those of the families
_KINDS = (
    (6.0, 0.5, 0.0, 0.2, 1.5, 0.0),  # boxes and extrusions, as furniture and buildings
    (0.5, 4.0, 0.7, 1.5, 0.3, 3.0),  # round, as machines and vessels
    (3.0, 3.0, 1.0, 1.0, 2.0, 2.0),  # mixed, as vehicles and toys
    (2.0, 1.0, 4.0, 1.0, 0.5, 1.5),  # soft, as animals and plants
)

"""How likely the six kinds are, style by style."""
_FORMS = ((0.25, 0.3, 0.45), (0.45, 0.4, 0.15), (0.1, 0.2, 0.7))
"""How likely plates, rods and blocks are, style by style."""


def lazy_compositions(first: int, count: int, seed: int) -> LazySequence[Shape]:
    """Draw compositions when they are read.

    Args:
        first: number of the first shape.
        count: number of shapes.
        seed: shape i depends only on the seed and on i.

    Raises:
        InputError: a number is negative.

    Examples:
        >>> shapes = lazy_compositions(0, 1000, seed=0)
        >>> shapes[7].name, shapes[7].label
        ('composition-00007', 'none')
    """
    if min(first, count, seed) < 0:
        raise InputError(f"first is {first}, count is {count} and seed is {seed}; give numbers of at least 0.")
    return LazySequence(count, lambda i: _draw_shape(seed, first + i))


def _draw_shape(seed: int, i: int) -> Shape:
    parts = draw_parts(np.random.default_rng([seed, i, _STREAM]))
    return Shape(name=f"composition-{i:05d}", label="none", sdf=Composition(parts))


def draw_parts(rng: Rng) -> Parts:
    """Draw the parts of a composition.

    Args:
        rng: source of the random numbers.

    Returns:
        Its parts; their box is centered on the origin and has a longest side of 1.65 to 1.8.
    """
    budget = 1 + int(MAX_PIECES * rng.random() ** 2) if rng.random() < 0.35 else 2 + int(9 * rng.random())
    style = Style(
        kinds=_KINDS[pick(rng, (0.42, 0.2, 0.28, 0.1))],
        forms=_FORMS[pick(rng, (0.4, 0.35, 0.25))],
        thin=float(np.exp(rng.uniform(-3.2, -1.4))),
        cuts=(0.0, 0.15, 0.4)[pick(rng, (0.4, 0.4, 0.2))],
        tilt=(0.0, 0.15, 0.6)[pick(rng, (0.6, 0.25, 0.15))],
        order=(0.0, 0.5, 1.0)[pick(rng, (0.3, 0.3, 0.4))],
    )
    form = pick(rng, (2.0 * style.forms[0], 0.3 * style.forms[1], style.forms[2]))
    parts, _ = assemble(rng, style, 1.0, min(budget, MAX_PIECES), MAX_ROWS, form)
    parts = place_parts(parts, _draw_pose(rng)[None], np.zeros((1, 3)))
    low, high = bounding_box(parts)
    parts["center"] -= (low + high) / 2
    return scale_parts(parts, float(rng.uniform(1.65, 1.8) / (high - low).max()))


def _draw_pose(rng: Rng) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A turn of the whole: by quarters, in the plane of the floor, or in any direction."""
    quarters: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.eye(3)[rng.permutation(3)]
    mode = rng.random()
    if mode < 0.75:
        return quarters
    axis = np.array([0.0, 1.0, 0.0]) if mode < 0.85 else rng.normal(size=3)
    return turn_about(axis / np.linalg.norm(axis), float(rng.uniform(-np.pi, np.pi))) @ quarters
