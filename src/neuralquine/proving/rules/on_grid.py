"""Which modules' rules round where a network with activations on a grid does.

A rule that is not listed may stand in such a network and forget a rounding, so a proof of one refuses it by name.
"""

from .models import MODELS

# The modules whose rules round where the network does, and those that have nothing to round.
_NORMS = ("LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "BatchNorm1d", "BatchNorm2d")
_CONVOLUTIONS = (*(f"Conv{n}d" for n in (1, 2, 3)), *(f"ConvTranspose{n}d" for n in (1, 2, 3)))
_ROUNDED = ("Linear", *_CONVOLUTIONS, *_NORMS, "neuralquine.InstanceNorm")
_WHOLE = ("TransformerEncoderLayer", "neuralquine.CausalTransformer")
_SMOOTH = ("Tanh", "Sigmoid", "SiLU", "GELU", "GLU", "Softmax", "Softmin", "Softsign", "Mish", "Tanhshrink")
_STRAIGHT = ("ReLU", "LeakyReLU", "PReLU", "ReLU6", "Hardtanh", "Hardsigmoid", "Hardswish", "Softshrink")
_PLAIN = (*_SMOOTH, *_STRAIGHT, "ELU", "SELU", "CELU")
_PADS = tuple(f"{kind}Pad{n}d" for kind in ("Zero", "Reflection", "Replication", "Circular") for n in (1, 2, 3))
_DROPPED = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
_MOVED = ("Embedding", "Identity", "Flatten", "Unflatten", *_DROPPED, *_PADS)
_POOLS = tuple(f"{kind}Pool{n}d" for kind in ("Max", "Avg", "AdaptiveAvg") for n in (1, 2, 3))
ON_GRID = {*MODELS, *_ROUNDED, *_WHOLE, *_PLAIN, *_MOVED, *_POOLS}
