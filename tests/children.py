"""The processes that a test starts."""

import time

import psutil

from tests.tasks import PATIENCE


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def workers(parent: int | None = None) -> list[int]:
    """Living processes of a pool, started by a process (this one if None)."""
    children = psutil.Process(parent).children()
    return [child.pid for child in children if lives(child.pid) and "spawn_main" in " ".join(child.cmdline())]
