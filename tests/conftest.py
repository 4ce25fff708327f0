"""One thread in every test process: the suite runs two of them side by side."""

import torch

torch.set_num_threads(1)
