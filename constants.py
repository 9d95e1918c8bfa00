"""Names, default files and limits that every part of AutoGO shares."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent
DATA_DIR = ROOT / "data"
CACHE_DIR = ROOT / "cache"
LOGS_DIR = ROOT / "logs"
OUTPUTS_DIR = ROOT / "outputs"
SAVED_MODELS_DIR = ROOT / "saved_models"
SENTENCE_PIECE_DIR = ROOT / "cache_sentence_piece"
OP_VOCABULARY_FILE = DATA_DIR / "tf_primitive_ops_simplified.txt"

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
    "inception": _COMMON_OPS | {"avgpool", "maxpool", "fusedbatchnorm", "concat", "depthwise"},
    "generic": _COMMON_OPS | {"avgpool", "maxpool", "fusedbatchnorm", "concat", "depthwise"},
    "generic_noDW": _COMMON_OPS | {"avgpool", "maxpool", "fusedbatchnorm", "concat"},
    "edsr": _COMMON_OPS | {"concat"},
}
# Operations that a mutation never replaces and never brings in.
PROTECTED_OPS = frozenset({"input", "output", "mean", "matmul"})
