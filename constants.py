"""Names, default files and limits that every part of AutoGO shares."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
# In an installed copy the shipped files lie in the package; in a checkout they are where the repository has them.
_PACKAGED = _HERE / "model_src" / "shipped"
INSTALLED = _PACKAGED.is_dir()
SHIPPED_DIR = _PACKAGED if INSTALLED else _HERE
# What is written goes below this folder: the working directory, or the repository wherever a script is started.
ROOT = Path() if INSTALLED else _HERE
DATA_DIR = ROOT / "data"
CACHE_DIR = ROOT / "cache"
LOGS_DIR = ROOT / "logs"
OUTPUTS_DIR = ROOT / "outputs"
SAVED_MODELS_DIR = ROOT / "saved_models"
SENTENCE_PIECE_DIR = ROOT / "cache_sentence_piece"
OP_VOCABULARY_FILE = SHIPPED_DIR / "data" / "tf_primitive_ops_simplified.txt"

DEFAULT_SEED = 12345

# Feature normalisers of the domain that the predictors are trained on.
MAX_DERIVED_H = 256
MAX_DERIVED_W = 256
MAX_HIDDEN_SIZE = 512
MAX_KERNEL_SIZE = 7
DOMAIN_NORMALISERS = {
    "max_hidden_size": MAX_HIDDEN_SIZE,
    "max_kernel_size": MAX_KERNEL_SIZE,
    "max_derived_H": MAX_DERIVED_H,
    "max_derived_W": MAX_DERIVED_W,
}

_COMMON_OPS = frozenset({"conv2d", "relu", "add", "matmul", "identity", "mean"})
# Family -> operations that a mutation may give its networks (AutoGO, appendix A.5); model_src/families.py refers to it.
OPS = {
    "hiaml": _COMMON_OPS | {"avgpool", "fusedbatchnorm"},
    "nb201": _COMMON_OPS | {"avgpool", "fusedbatchnorm", "zero"},
    "nb101": _COMMON_OPS | {"avgpool", "maxpool", "fusedbatchnorm", "concat"},
    "two_path": _COMMON_OPS | {"avgpool", "maxpool", "fusedbatchnorm", "concat"},
    "inception": _COMMON_OPS | {"avgpool", "maxpool", "fusedbatchnorm", "concat", "depthwise", "grouped_conv"},
    "generic": _COMMON_OPS | {"avgpool", "maxpool", "fusedbatchnorm", "concat", "depthwise", "grouped_conv"},
    "generic_noDW": _COMMON_OPS | {"avgpool", "maxpool", "fusedbatchnorm", "concat"},
    "edsr": _COMMON_OPS | {"concat"},
}
