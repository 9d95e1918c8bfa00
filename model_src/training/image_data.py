"""Images with their classes, in memory, as trainings take them. Needs no PyTorch."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from model_src.files import InputError

CIFAR10 = "CIFAR-10"
N_CLASSES = 10  # of CIFAR-10


class ImageData(NamedTuple):
    """Images as uint8 (n, C, H, W), labels as int64 (n,) from 0 to n_classes - 1.

    Attributes:
        train_images: Images to learn from.
        train_labels: Their classes.
        test_images: Images to test on.
        test_labels: Their classes.
        dataset: What tells the data set from others.
        n_classes: Number of classes.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    dataset: str = CIFAR10
    n_classes: int = N_CLASSES

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Training images, their labels, test images, their labels."""
        return self[:4]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of an image, as graphs have it."""
        c, h, w = self.train_images.shape[1:]
        return h, w, c

    def split(self, count: int | None = None, held_out: int = 0) -> "ImageData":
        """The same with only the first training images (None keeps all) of those that are not held out.

        Args:
            count: Training images.
            held_out: The last so many training images come before the test images instead.

        Raises:
            InputError: Nothing is left to learn from.
        """
        left = len(self.train_images) - held_out
        if left < 1:
            raise InputError(f"{held_out} of {len(self.train_images)} training images cannot be held out")
        few = self._replace(
            train_images=self.train_images[:left][:count], train_labels=self.train_labels[:left][:count]
        )
        if not held_out:
            return few
        return few._replace(
            test_images=np.concatenate([self.train_images[left:], self.test_images]),
            test_labels=np.concatenate([self.train_labels[left:], self.test_labels]),
        )


# Reads images, in whichever process it is called; picklable.
ImageSource = Callable[[], ImageData]
