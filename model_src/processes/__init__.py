"""One way to run tasks: in this process, in processes of this machine that are kept for the run, or on Ray.

A task is a picklable function with picklable arguments. What it needs besides (files it reads, a predictor) is made
once per process by a picklable factory, and is its first argument.
"""

from model_src.processes.backend import LOCAL, Backend, add_backend_flags, backend_of
from model_src.processes.parcel import Parcel
from model_src.processes.pool import TaskPool
from model_src.processes.tasks import MAX_ATTEMPTS, Outcome, Task, TaskError

__all__ = [
    "LOCAL",
    "MAX_ATTEMPTS",
    "Backend",
    "Outcome",
    "Parcel",
    "Task",
    "TaskError",
    "TaskPool",
    "add_backend_flags",
    "backend_of",
]
