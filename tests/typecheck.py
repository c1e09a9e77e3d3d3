"""The type checker of the tests: beartype, for the parameters and results whose shape is annotated.

The library itself checks all other arguments where a caller can mistake them, and the tests make such mistakes.
"""

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the annotated shapes of a function when it is called.

    Args:
        function: any function; one without a shape in its signature is returned as it is.
    """
    shapes = {name: hint for name, hint in function.__annotations__.items() if names_shape(hint)}
    if not shapes:
        return function
    function.__annotations__ = shapes
    return beartype(function)


def names_shape(hint: Any) -> bool:
    """Whether a type, or a part of it such as the items of a list, is a tensor or array of a certain shape.

    Args:
        hint: an annotation.
    """
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(names_shape, get_args(hint)))
