"""One trunk and probe for each module that has a rule: what a proof encloses, and what an exported graph computes."""

import torch
from torch import nn

from neuralquine.quines.networks.bodies import TokenMean, Tokens
from neuralquine.quines.networks.causal import CausalTransformer

PADDINGS = "Zero", "Reflection", "Replication", "Circular"


def cases():
    """By name, each to be made when it is asked for; the first word of a name is the rule's."""

    def seq(*modules):
        return nn.Sequential(*modules)

    encoder = {"nhead": 2, "dim_feedforward": 12, "batch_first": True, "dropout": 0.1}
    return {
        "LeakyReLU": lambda: (seq(nn.Linear(5, 9), nn.LeakyReLU(0.2), nn.Linear(9, 8)), torch.randn(1, 5)),
        "ELU": lambda: (seq(nn.Linear(5, 8), nn.ELU(0.7)), torch.randn(1, 5)),
        "SELU": lambda: (seq(nn.Linear(5, 8), nn.SELU()), torch.randn(1, 5)),
        "Softsign": lambda: (seq(nn.Linear(5, 8), nn.Softsign()), torch.randn(1, 5)),
        "Mish": lambda: (seq(nn.Linear(5, 8), nn.Mish()), torch.randn(1, 5)),
        "Conv3d": lambda: (seq(nn.Conv3d(1, 2, 2, stride=2), nn.Tanh(), nn.Flatten()), torch.randn(1, 1, 4, 2, 4)),
        "Unflatten": lambda: (seq(nn.Linear(5, 12), nn.Unflatten(-1, (3, 4)), nn.Linear(4, 3)), torch.randn(1, 5)),
        "CELU": lambda: (seq(nn.Linear(5, 8), nn.CELU(0.5)), torch.randn(1, 5)),
        "Tanhshrink": lambda: (seq(nn.Linear(5, 8), nn.Tanhshrink()), torch.randn(1, 5)),
        "Hardtanh": lambda: (seq(nn.Linear(5, 8), nn.Hardtanh(-0.5, 1.0)), torch.randn(1, 5)),
        "ReLU6": lambda: (seq(nn.Linear(5, 8), nn.ReLU6()), torch.randn(1, 5)),
        "Hardsigmoid": lambda: (seq(nn.Linear(5, 8), nn.Hardsigmoid()), torch.randn(1, 5)),
        "Hardswish": lambda: (seq(nn.Linear(5, 8), nn.Hardswish()), torch.randn(1, 5)),
        "Softshrink": lambda: (seq(nn.Linear(5, 8), nn.Softshrink(0.25)), torch.randn(1, 5)),
        "PReLU": lambda: (seq(nn.Linear(5, 8), nn.PReLU(8)), torch.randn(1, 5)),
        "Softmin": lambda: (seq(nn.Linear(5, 8), nn.Softmin(dim=-1)), torch.randn(1, 5)),
        "ConvTranspose1d": lambda: (seq(nn.ConvTranspose1d(2, 2, 2, stride=2), nn.Tanh()), torch.randn(1, 2, 3)),
        "ConvTranspose2d": lambda: (
            seq(nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1, output_padding=1, groups=2), nn.Tanh()),
            torch.randn(1, 2, 2, 2),
        ),
        "ConvTranspose3d": lambda: (seq(nn.ConvTranspose3d(1, 2, 2), nn.Tanh()), torch.randn(1, 1, 1, 1, 2)),
        "AdaptiveAvgPool1d": lambda: (seq(nn.Conv1d(2, 4, 2), nn.AdaptiveAvgPool1d(2)), torch.randn(1, 2, 5)),
        "AdaptiveAvgPool3d": lambda: (
            seq(nn.Conv3d(1, 4, 2), nn.AdaptiveAvgPool3d((1, 2, 1)), nn.Flatten()),
            torch.randn(1, 1, 3, 3, 2),
        ),
        "AvgPool3d": lambda: (seq(nn.Conv3d(1, 8, 2), nn.AvgPool3d(2), nn.Flatten()), torch.randn(1, 1, 3, 3, 3)),
        "MaxPool3d": lambda: (seq(nn.Conv3d(1, 8, 2), nn.MaxPool3d(2), nn.Flatten()), torch.randn(1, 1, 3, 3, 3)),
        **{
            f"{kind}Pad1d": lambda kind=kind: (
                seq(getattr(nn, f"{kind}Pad1d")((1, 2)), nn.Conv1d(2, 3, 3, stride=2)),
                torch.randn(1, 2, 4),
            )
            for kind in PADDINGS
        },
        **{
            f"{kind}Pad2d": lambda kind=kind: (
                seq(getattr(nn, f"{kind}Pad2d")((0, 1, 2, 1)), nn.Conv2d(1, 3, 3, stride=2)),
                torch.randn(1, 1, 3, 3),
            )
            for kind in PADDINGS
        },
        **{
            f"{kind}Pad3d": lambda kind=kind: (
                seq(getattr(nn, f"{kind}Pad3d")(1), nn.Conv3d(1, 8, 3, stride=3)),
                torch.randn(1, 1, 2, 2, 2),
            )
            for kind in PADDINGS
        },
        "GLU": lambda: (seq(nn.Linear(5, 16), nn.GLU()), torch.randn(1, 5)),
        "RMSNorm": lambda: (seq(nn.Linear(5, 8), nn.RMSNorm(8), nn.Tanh()), torch.randn(1, 5)),
        "GroupNorm": lambda: (seq(nn.Conv1d(2, 4, 2), nn.GroupNorm(2, 4), nn.Flatten()), torch.randn(1, 2, 4)),
        "InstanceNorm1d": lambda: (seq(nn.Conv1d(2, 3, 2), nn.InstanceNorm1d(3, affine=True)), torch.randn(1, 2, 5)),
        "InstanceNorm2d": lambda: (seq(nn.Conv2d(1, 2, 2), nn.InstanceNorm2d(2)), torch.randn(1, 1, 4, 4)),
        "AvgPool2d": lambda: (
            seq(nn.Conv2d(1, 3, 2), nn.AvgPool2d(3, stride=2, padding=1), nn.Flatten()),
            torch.randn(1, 1, 5, 5),
        ),
        "Conv2d of groups": lambda: (seq(nn.Conv2d(4, 6, 2, groups=2), nn.Flatten()), torch.randn(1, 4, 3, 3)),
        "Linear": lambda: (seq(nn.Linear(5, 8)), torch.randn(1, 5)),
        "Linear without bias": lambda: (seq(nn.Linear(5, 8, bias=False)), torch.randn(2, 5)),
        "Tanh": lambda: (seq(nn.Linear(5, 8), nn.Tanh()), torch.randn(1, 5)),
        "ReLU": lambda: (seq(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 8)), torch.randn(1, 5)),
        "Sigmoid": lambda: (seq(nn.Linear(5, 8), nn.Sigmoid()), torch.randn(1, 5)),
        "SiLU": lambda: (seq(nn.Linear(5, 8), nn.SiLU()), torch.randn(1, 5)),
        "GELU": lambda: (seq(nn.Linear(5, 8), nn.GELU()), torch.randn(1, 5)),
        "GELU tanh": lambda: (seq(nn.Linear(5, 8), nn.GELU(approximate="tanh")), torch.randn(1, 5)),
        "Softmax": lambda: (seq(nn.Linear(5, 8), nn.Softmax(dim=-1)), torch.randn(1, 5)),
        "LayerNorm": lambda: (seq(nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh()), torch.randn(1, 5)),
        "LayerNorm plain": lambda: (seq(nn.Linear(5, 8), nn.LayerNorm(8, elementwise_affine=False)), torch.randn(1, 5)),
        "Conv2d": lambda: (
            seq(nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.Tanh(), nn.Flatten()),
            torch.randn(1, 2, 5, 4),
        ),
        "Conv2d dilated": lambda: (
            seq(nn.Conv2d(1, 2, (2, 1), dilation=(2, 1)), nn.Flatten()),
            torch.randn(2, 1, 4, 3),
        ),
        "Conv1d": lambda: (seq(nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten()), torch.randn(1, 2, 6)),
        "BatchNorm2d": lambda: (
            seq(nn.Conv2d(1, 3, 2), _used(nn.BatchNorm2d(3)), nn.Flatten()),
            torch.randn(1, 1, 3, 3),
        ),
        "AdaptiveAvgPool2d": lambda: (
            seq(nn.Conv2d(1, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            torch.randn(1, 1, 4, 4),
        ),
        "RNN": lambda: (nn.RNN(3, 4, num_layers=2), torch.randn(3, 3)),
        "RNN relu": lambda: (nn.RNN(3, 4, nonlinearity="relu", batch_first=True), torch.randn(1, 3, 3)),
        "GRU": lambda: (nn.GRU(3, 4, batch_first=True), torch.randn(2, 3, 3)),
        "LSTM": lambda: (nn.LSTM(3, 4, num_layers=2), torch.randn(3, 1, 3)),
        "RNNCell": lambda: (nn.RNNCell(3, 8), torch.randn(1, 3)),
        "GRUCell": lambda: (nn.GRUCell(3, 8), torch.randn(1, 3)),
        "LSTMCell": lambda: (nn.LSTMCell(3, 8), torch.randn(1, 3)),
        "Embedding": lambda: (seq(nn.Embedding(6, 4), nn.Flatten()), torch.tensor([[1, 4, 4]])),
        "TransformerEncoderLayer": lambda: (
            seq(nn.TransformerEncoderLayer(4, **encoder), nn.Flatten()),
            torch.randn(1, 3, 4),
        ),
        "TransformerEncoderLayer norm first": lambda: (
            seq(nn.TransformerEncoderLayer(8, norm_first=True, activation="gelu", **encoder)),
            torch.randn(2, 2, 8),
        ),
        "neuralquine.CausalTransformer": lambda: (CausalTransformer(11, 8, 1, 2), torch.tensor([[3, 10, 3]])),
        "MaxPool1d": lambda: (seq(nn.Conv1d(2, 3, 2), nn.MaxPool1d(2, padding=1), nn.Flatten()), torch.randn(1, 2, 6)),
        "MaxPool2d": lambda: (
            seq(nn.Conv2d(1, 3, 2), nn.MaxPool2d(3, stride=2, padding=1), nn.Flatten()),
            torch.randn(1, 1, 5, 5),
        ),
        "neuralquine.Tokens and neuralquine.TokenMean": lambda: (
            seq(nn.Conv2d(1, 4, 2), Tokens(4, 4), TokenMean(), nn.Linear(4, 8)),
            torch.randn(2, 1, 3, 3),
        ),
        "neuralquine.TokenMean": lambda: (seq(nn.Linear(4, 8), TokenMean()), torch.randn(1, 3, 4)),
        "Dropout1d": lambda: (seq(nn.Linear(5, 8), nn.Dropout1d()), torch.randn(1, 5)),
        "Dropout2d": lambda: (seq(nn.Conv2d(1, 3, 2), nn.Dropout2d(), nn.Flatten()), torch.randn(1, 1, 3, 3)),
        "Dropout3d": lambda: (seq(nn.Conv3d(1, 3, 2), nn.Dropout3d(), nn.Flatten()), torch.randn(1, 1, 3, 3, 2)),
        "AlphaDropout": lambda: (seq(nn.Linear(5, 8), nn.AlphaDropout()), torch.randn(1, 5)),
        "FeatureAlphaDropout": lambda: (seq(nn.Linear(5, 8), nn.FeatureAlphaDropout()), torch.randn(1, 5)),
        "Identity and Dropout": lambda: (seq(nn.Linear(5, 8), nn.Identity(), nn.Dropout(0.5)), torch.randn(1, 5)),
    }


def _used(norm):
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm
