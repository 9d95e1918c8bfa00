"""How a backend says what stands for an operation: one way for importers, network builders and exporters."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from model_src.comp_graph.ops import OPERATIONS, Backend

Function = TypeVar("Function", bound=Callable[..., Any])


class MissingOperation(LookupError):
    """A backend has nothing for an operation; the text says which backends do."""


class Registry(Generic[Function]):
    """One function per operation, or for an importer per type of operation in the foreign format.

    Args:
        backend: Whose functions they are.
        base: What counts for operations that this registry does not name; it may replace what is there.
    """

    def __init__(self, backend: Backend, base: "Registry[Function] | None" = None):
        self.backend = backend
        self.operations: frozenset[str] = base.operations if base else frozenset()
        self._base = base
        self._functions: dict[str, Function] = {}
        self._made_of: dict[str, tuple[str, ...]] = {}

    def register(self, *operations: str, types: tuple[str, ...] = ()) -> Callable[[Function], Function]:
        """Decorator: the function stands for these operations.

        Args:
            *operations: Names of rows of the table.
            types: For importers: the foreign types that the function reads; it makes the operations of them.

        Raises:
            ValueError: An operation has no row, or it or the type has a function already.
        """

        def add(function: Function) -> Function:
            for key in types or operations:
                if key in self._functions:
                    raise ValueError(f"{self.backend.value}: {key!r} has two functions")
            self.operations |= {OPERATIONS[name].name for name in operations}
            self._functions |= dict.fromkeys(types or operations, function)
            self._made_of |= dict.fromkeys(types, operations)
            return function

        return add

    def operations_of(self, type_: str) -> tuple[str, ...]:
        """The operations that may be made of a foreign type."""
        return self._made_of[type_]

    def __contains__(self, key: str) -> bool:
        return key in self._functions or (self._base is not None and key in self._base)

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._base or ()), **self._functions})

    def __getitem__(self, key: str) -> Function:
        """The function of an operation or type.

        Raises:
            MissingOperation: There is none.
        """
        if key in self._functions:
            return self._functions[key]
        if self._base is not None:
            return self._base[key]
        raise MissingOperation(f"no {self.backend.value} of {key!r} is registered; {_who_has(key)}")


def _who_has(name: str) -> str:
    backends = [backend.value for backend in Backend if name in OPERATIONS and backend in OPERATIONS[name].backends]
    return f"there is: {', '.join(backends)}" if backends else "it is no operation"
