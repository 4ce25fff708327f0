"""The steepest direction of a wide derivative, from a small matrix."""

import torch

from neuralquine.quines.derivatives import Dense


def test_the_steepest_direction_of_a_wide_matrix_is_its_first_right_singular_vector():
    for seed in range(5):
        matrix = torch.randn(6, 700, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found = Dense(matrix, None).steepest()  # type: ignore[arg-type] - no printer is asked
        first = torch.linalg.svd(matrix, full_matrices=False).Vh[0]
        assert float((found @ first).abs()) > 1 - 1e-12
        assert torch.isfinite(Dense(matrix * 1e200, None).steepest()).all()
