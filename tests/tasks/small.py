"""A task that is learned in a second: three Gaussian clouds in eight dimensions."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import neuralquine as nq


def body(features=48, activation=nn.ReLU):
    torch.manual_seed(0)
    return nq.Body(nn.Sequential(nn.Linear(8, features), activation()), nn.Linear(features, 3))


def quine(seed=0, *, features=48, repeats=3, code_size=256, activation=nn.ReLU, **options):
    return nq.TaskQuine(body(features, activation), (8, 8), code_size, seed, repeats=repeats, **options)


def clouds(seed=0, count=600, batch=64):
    generator = torch.Generator().manual_seed(seed)
    centers = 1.2 * torch.randn(3, 8, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(0, 3, (count,), generator=generator)
    inputs = centers[labels] + torch.randn(count, 8, generator=generator)
    return DataLoader(TensorDataset(inputs, labels), batch, shuffle=True, generator=torch.Generator())
