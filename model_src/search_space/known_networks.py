"""Known networks for full-size images: ResNet v1, VGG-16 with batch normalisation, the EDSR encoder, FSRCNN, a U-Net.

`python -m model_src.search_space.known_networks` writes them into `architectures/samples/`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import constants
from model_src.cli import FlagParser, run_script
from model_src.comp_graph.tf_comp_graph import ComputeGraph
from model_src.comp_graph.tf_comp_graph_utils import derived_normalisers
from model_src.files import save_pickle
from model_src.search_space.graph_builder import GraphBuilder, Tensor

IMAGENET_SHAPE, IMAGENET_CLASSES = (1, 224, 224, 3), 1000
EDSR_SHAPE = (1, 320, 180, 64)
FSRCNN_SHAPE = (1, 320, 180, 1)
UNET_SHAPE = (1, 128, 128, 3)
# Bottleneck blocks per stage. The last block of the first three stages only halves the map (see `resnet`), so these are
# one fewer there than the 3, 4, 6, 3 and 3, 4, 23, 3 of He et al.
_RESNET_BLOCKS = {50: (2, 3, 5, 3), 101: (2, 3, 22, 3)}


def resnet(depth: int) -> ComputeGraph:
    """ResNet v1 with bottlenecks (He et al., 2016) in the form in which AutoGO published its ResNet-50.

    The stem and its pool are not padded (224 -> 109 -> 54), convolutions have a bias, and where a stage ends, a 1x1
    maximum of stride 2 and a ReLU halve the map; the classifier is a 1x1 convolution.

    Args:
        depth: 50 or 101.

    Raises:
        ValueError: Another depth.
    """
    if depth not in _RESNET_BLOCKS:
        raise ValueError(f"ResNet of depth {depth}; known are {', '.join(map(str, _RESNET_BLOCKS))}")
    builder = GraphBuilder(f"ResNet-V1-{depth}", IMAGENET_SHAPE)
    x = builder.conv(builder.input(), 64, 7, 2, bias=True, padding="valid")
    x = builder.relu(builder.batchnorm(x))
    x = builder.maxpool(x, 3, 2, padding="valid")
    for stage, blocks in enumerate(_RESNET_BLOCKS[depth]):
        if stage > 0:
            x = builder.relu(builder.maxpool(x, 1, 2, padding="valid"))
        for block in range(blocks):
            x = _bottleneck(builder, x, 64 << stage, project=block == 0)
    x = builder.avgpool(x, x.h, padding="valid")
    return _finished(builder.output(builder.conv(x, IMAGENET_CLASSES, 1, bias=True)))


def _bottleneck(builder: GraphBuilder, x: Tensor, width: int, project: bool) -> Tensor:
    skip = builder.batchnorm(builder.conv(x, 4 * width, 1, bias=True)) if project else x
    x = builder.relu(builder.batchnorm(builder.conv(x, width, 1, bias=True)))
    x = builder.relu(builder.batchnorm(builder.conv(x, width, 3, bias=True)))
    x = builder.batchnorm(builder.conv(x, 4 * width, 1, bias=True))
    return builder.relu(builder.add(skip, x))


def vgg16_bn() -> ComputeGraph:
    """VGG-16 (Simonyan and Zisserman, 2015) with batch normalisation and one dense layer behind a global mean."""
    builder = GraphBuilder("VGG16_BN", IMAGENET_SHAPE)
    x = builder.input()
    for width, n_layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(n_layers):
            x = builder.relu(builder.batchnorm(builder.conv(x, width, 3, bias=True)))
        x = builder.maxpool(x, 2, 2, padding="valid")
    return _finished(builder.classifier(x, dropout=False, n_classes=IMAGENET_CLASSES))


def edsr_encoder() -> ComputeGraph:
    """The body of the EDSR baseline (Lim et al., 2017) without its outer skip: 16 residual blocks and a convolution."""
    builder = GraphBuilder("EDSR", EDSR_SHAPE)
    x = builder.input()
    for _ in range(16):
        body = builder.conv(builder.relu(builder.conv(x, 64, 3, bias=True)), 64, 3, bias=True)
        x = builder.add(x, body)
    return _finished(builder.output(builder.conv(x, 64, 3, bias=True)))


def fsrcnn(mappings: int, width: int = 56, narrow: int = 12) -> ComputeGraph:
    """FSRCNN for twice the height and width (Dong et al., 2016) of brightness, with ReLU in the place of PReLU.

    Features, shrinking to few channels, mapping, expanding, and a transposed convolution that enlarges the map.

    Args:
        mappings: The paper's m, 3x3 convolutions in the middle.
        width: Its d, channels of the features.
        narrow: Its s, channels in the middle.
    """
    builder = GraphBuilder(f"FSRCNN-{width}-{narrow}-{mappings}", FSRCNN_SHAPE)
    x = builder.relu(builder.conv(builder.input(), width, 5, bias=True))
    x = builder.relu(builder.conv(x, narrow, 1, bias=True))
    for _ in range(mappings):
        x = builder.relu(builder.conv(x, narrow, 3, bias=True))
    x = builder.relu(builder.conv(x, width, 1, bias=True))
    return _finished(builder.output(builder.transposed(x, 1, 9, 2, bias=True)))


def unet(width: int = 32, levels: int = 3) -> ComputeGraph:
    """A small U-Net (Ronneberger et al., 2015) that removes noise: an image in, an image out.

    Args:
        width: Channels at full size; twice as many at half of it, and so on.
        levels: Sizes of map.
    """
    builder = GraphBuilder("UNet", UNET_SHAPE)
    x, skips = builder.input(), []
    for level in range(levels):
        x = _two_convs(builder, builder.maxpool(x, 2, 2, padding="valid") if level else x, width << level)
        skips.append(x)
    for level in reversed(range(levels - 1)):
        x = builder.transposed(x, width << level, 2, 2, bias=True)
        x = _two_convs(builder, builder.concat(skips[level], x), width << level)
    return _finished(builder.output(builder.conv(x, UNET_SHAPE[3], 1, bias=True)))


def _two_convs(builder: GraphBuilder, x: Tensor, width: int) -> Tensor:
    for _ in range(2):
        x = builder.relu(builder.batchnorm(builder.conv(x, width, 3)))
    return x


def _finished(cg: ComputeGraph) -> ComputeGraph:
    return cg.with_normalisers(derived_normalisers(cg))


# Path in the samples folder -> its network.
SAMPLES: dict[str, Callable[[], ComputeGraph]] = {
    "edsr/edsr.pkl": edsr_encoder,
    "fsrcnn/fsrcnn_m3.pkl": lambda: fsrcnn(3),
    "fsrcnn/fsrcnn_m4.pkl": lambda: fsrcnn(4),
    "resnet50/resnet50.pkl": lambda: resnet(50),
    "resnet101/resnet101.pkl": lambda: resnet(101),
    "unet/unet.pkl": unet,
    "vgg/vgg16_bn.pkl": vgg16_bn,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the samples."""
    parser = FlagParser(__doc__)
    parser.add_argument("-output_dir", type=Path, default=constants.ROOT / "architectures" / "samples", help="folder")
    folder = parser.parse_args(argv).output_dir
    for name, build in SAMPLES.items():
        save_pickle(build(), folder / name)
    return 0


if __name__ == "__main__":
    run_script(main)
