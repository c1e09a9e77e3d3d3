"""A sequence whose items are made whenever they are asked for, where all of them at once would take too much memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

Item = TypeVar("Item")


@dataclass(frozen=True)
class LazySequence(Sequence[Item], Generic[Item]):
    """`size` items, the i-th of which is `make(i)`; nothing is kept."""

    size: int
    make: Callable[[int], Item]

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
