"""A value on its way between processes."""

import pickle
from functools import cached_property
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Parcel(Generic[T]):
    """Travels as bytes: a value is packed once, however often it is sent, and unpacked only where somebody needs it."""

    def __init__(self, value: T):
        self.value = value

    @cached_property
    def value(self) -> T:
        """The value."""
        value: T = pickle.loads(self.packed)
        return value

    @cached_property
    def packed(self) -> bytes:
        """The pickled value."""
        return pickle.dumps(self.value)

    @property
    def is_open(self) -> bool:
        """Whether the value is there."""
        return "value" in vars(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"packed": self.packed}
