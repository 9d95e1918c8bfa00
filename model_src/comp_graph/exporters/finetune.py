"""Train an exported network on images of your own: FOLDER/train/ and FOLDER/val/, each with a folder per class.

The classes are those of train/; val/ may lack some. Hidden files, and others that are no images, are left out.

    python finetune.py rank_0 FOLDER -epochs 10

It loads the network from rank_0.py with the weights of rank_0.pt, beside this file, and writes rank_0_finetuned.pt. It
needs PyTorch, NumPy and Pillow; change it as you like, above all MEAN and STD, for images as the network knows them.
"""

import argparse
import importlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

MEAN, STD = 0.5, 0.25
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class Images(Dataset[tuple[Tensor, int]]):
    """The images of classes, resized, with the numbers of their classes."""

    def __init__(self, folder: Path, classes: list[str], size: tuple[int, int, int]):
        files = [(path, label) for label, name in enumerate(classes) for path in visible(folder / name)]
        self.files = [(path, label) for path, label in files if path.suffix.lower() in SUFFIXES]
        self.classes, self.size = classes, size
        if not self.files:
            raise ValueError(f"{folder}: there are no images in folders of classes")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        (path, label), (channels, h, w) = self.files[place], self.size
        pixels = np.array(Image.open(path).convert("L" if channels == 1 else "RGB").resize((w, h)), np.float32)
        return (torch.from_numpy(pixels).reshape(h, w, channels).permute(2, 0, 1) / 255 - MEAN) / STD, label


def visible(folder: Path) -> list[Path]:
    """What is in a folder, by name, but for what is hidden; nothing if there is no such folder."""
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def read(folder: Path, size: tuple[int, int, int]) -> tuple[Images, Images]:
    """The images to learn from, and those to test on.

    Raises:
        ValueError: There are none, or a class is only among those to test on.
    """
    train, val = folder / "train", folder / "val"
    for part in (train, val):
        if not part.is_dir():
            raise ValueError(f"{part}: there is no such folder")
    classes, tested = ([path.name for path in visible(part) if path.is_dir()] for part in (train, val))
    for name in tested:
        if name not in classes:
            raise ValueError(f"{val / name}: there is no such class in train")
    return Images(train, classes, size), Images(val, classes, size)


def with_classes(network: nn.Module, n_classes: int) -> None:
    """Let a classifier end in so many classes: its last layer is a new one, unless it has as many already."""
    name, last = [(n, layer) for n, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    if isinstance(last, nn.Linear) and last.out_features != n_classes:
        setattr(network, name, nn.Linear(last.in_features, n_classes))
    elif isinstance(last, nn.Conv2d) and last.out_channels != n_classes:
        height, width = last.kernel_size
        setattr(network, name, nn.Conv2d(last.in_channels, n_classes, (height, width)))


def main() -> None:
    """Train, and say after every epoch how many validation images are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("folder", type=Path)
    parser.add_argument("-epochs", type=int, default=10)
    parser.add_argument("-batch_size", type=int, default=32)
    parser.add_argument("-rate", type=float, default=1e-3)
    args = parser.parse_args()
    here, device = Path(__file__).parent, "cuda" if torch.cuda.is_available() else "cpu"
    network = importlib.import_module(args.network).Network()
    network.load_state_dict(torch.load(here / f"{args.network}.pt", weights_only=True))
    try:
        train, val = read(args.folder, network.input_size)
    except ValueError as error:
        parser.error(str(error))
    with_classes(network, len(train.classes))
    for norm in (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.momentum = 0.1  # 0.01 is for long trainings
    network.to(device)
    batches = DataLoader(train, args.batch_size, shuffle=True, drop_last=len(train) > args.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), args.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(batches))
    for epoch in range(1, args.epochs + 1):
        network.train()
        for images, labels in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images.to(device)), labels.to(device)).backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            right = [network(x.to(device)).argmax(1).cpu() == y for x, y in DataLoader(val, args.batch_size)]
        print(f"epoch {epoch}: {100 * torch.cat(right).float().mean():.2f} % of the validation images are right")
        torch.save(network.state_dict(), here / f"{args.network}_finetuned.pt")


if __name__ == "__main__":
    main()
