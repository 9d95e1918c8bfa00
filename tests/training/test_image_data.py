import numpy as np

from model_src.training.image_data import ImageData


def test_a_split_keeps_what_the_data_are():
    labels = np.arange(6)
    images = np.zeros((6, 1, 5, 4), np.uint8)
    data = ImageData(images, labels, images[:2], labels[:2], "folder:x", 6)
    part = data.split(3, held_out=2)
    assert (part.dataset, part.n_classes, part.input_shape) == ("folder:x", 6, (5, 4, 1))
    assert part.train_labels.tolist() == [0, 1, 2]
    assert part.test_labels.tolist() == [4, 5, 0, 1]
    assert [len(array) for array in part.arrays] == [3, 3, 4, 4]
