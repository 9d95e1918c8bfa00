"""Where tasks run, and the flags that say so; imports nothing heavy."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from model_src.files import InputError

NAMES = ("local", "ray")
NO_RAY = "Ray is not installed: pip install autogo[ray]"


@dataclass(frozen=True)
class Backend:
    """Where the processes of a pool are.

    Attributes:
        name: `local` (this machine) or `ray`.
        address: Of the Ray cluster; None is the one that this machine belongs to, or a new one of this machine alone.
    """

    name: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        """Check that it can be used.

        Raises:
            InputError: It is unknown, Ray is not installed, or an address is given without it.
        """
        if self.name not in NAMES:
            raise InputError(f"-parallel_backend: {' or '.join(NAMES)}, not {self.name!r}")
        if self.address and not self.is_ray:
            raise InputError("-ray_address is for -parallel_backend ray")
        if self.is_ray and find_spec("ray") is None:
            raise InputError(f"-parallel_backend ray: {NO_RAY}")

    @property
    def is_ray(self) -> bool:
        """Whether tasks run on Ray."""
        return self.name == "ray"


LOCAL = Backend()


def add_backend_flags(add: Callable[..., object]) -> None:
    """Add the flags that say where tasks run."""
    add("-parallel_backend", choices=NAMES, default=LOCAL.name, help="where -n_jobs run; results do not depend on it")
    add("-ray_address", help="of a Ray cluster; this machine's, or a new one on it, if not given")


def backend_of(args: argparse.Namespace) -> Backend:
    """Where the flags want tasks to run.

    Raises:
        InputError: See `Backend`.
    """
    return Backend(args.parallel_backend, args.ray_address)
