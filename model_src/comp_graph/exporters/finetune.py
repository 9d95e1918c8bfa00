"""Train an exported network on images of your own: FOLDER/train/ and FOLDER/val/, each with a folder per class.

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


class Images(Dataset[tuple[Tensor, int]]):
    """The images below a folder, resized, with the numbers of their classes."""

    def __init__(self, folder: Path, size: tuple[int, int, int]):
        self.classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
        self.files = [(path, label) for label, name in enumerate(self.classes) for path in (folder / name).iterdir()]
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        (path, label), (channels, h, w) = self.files[place], self.size
        pixels = np.array(Image.open(path).convert("L" if channels == 1 else "RGB").resize((w, h)), np.float32)
        return (torch.from_numpy(pixels).reshape(h, w, channels).permute(2, 0, 1) / 255 - MEAN) / STD, label


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
    train, val = (Images(args.folder / part, network.input_size) for part in ("train", "val"))
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
