"""TensorFlow, imported when it is needed."""

import os
from types import ModuleType

from model_src.files import InputError


def import_tensorflow() -> ModuleType:
    """Import TensorFlow without its greetings.

    Raises:
        InputError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it once, when it is imported
    try:
        import tensorflow
    except ModuleNotFoundError as error:
        raise InputError("TensorFlow is needed and is not installed: pip install tensorflow") from error
    return tensorflow
