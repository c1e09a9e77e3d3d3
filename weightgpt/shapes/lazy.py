"""A sequence that creates each item when it is read, for items that would not fit into memory together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

Item = TypeVar("Item")


@dataclass(frozen=True)
class LazySequence(Sequence[Item], Generic[Item]):
    """A sequence whose items are created at every access and not stored.

    Examples:
        >>> squares = LazySequence(5, lambda i: i * i)
        >>> squares[3], squares[1:3]
        (9, [1, 4])
    """

    size: int
    """Number of items."""
    make: Callable[[int], Item]
    """Creates the item of an index."""

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self.make(i) for i in range(*index.indices(self.size))]
        if not 0 <= index < self.size:
            raise IndexError(f"item {index} of {self.size}")
        return self.make(index)
