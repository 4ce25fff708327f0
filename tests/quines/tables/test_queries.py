"""Query tables: the published encodings, row by row, each weight a query of its own."""

import numpy as np
import pytest

from neuralquine.errors import TooLarge, TrunkError
from neuralquine.quines.tables.philox import dyadic_gaussian
from neuralquine.quines.tables.queries import KINDS, QueryTable

SHAPES = [(3, 4), (3,), (1, 3), (1,)]  # 12 + 3 + 3 + 1 weights


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shapes", [SHAPES, [(5, 7)], [(4, 2, 3, 3)]], ids=["network", "matrix", "convolution"])
def test_every_weight_has_a_query_of_its_own_and_any_stretch_is_the_same(kind, shapes):
    table = QueryTable(kind, shapes, seed=3)
    rows = table.rows()
    assert rows.shape == (table.count, table.width)
    assert rows.dtype == np.float64
    assert len(np.unique(rows, axis=0)) == table.count == sum(int(np.prod(s)) for s in shapes)
    np.testing.assert_array_equal(np.concatenate([table.rows(0, 5), table.rows(5, 7), table.rows(7)]), rows)


def test_a_projection_is_the_gaussian_table_of_its_seed():
    table = QueryTable("projection", SHAPES, width=6, seed=9)
    np.testing.assert_array_equal(table.rows().ravel(), dyadic_gaussian(9, 5, 0, 19 * 6))
    assert not np.array_equal(table.rows(), QueryTable("projection", SHAPES, width=6, seed=8).rows())


def test_coordinates_of_one_matrix_are_fletchers():
    rows = QueryTable("coordinates", [(16, 16)]).rows()
    row, column = np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 16), indexing="ij")
    np.testing.assert_allclose(rows, np.stack([row.ravel(), column.ravel()], 1), atol=1e-15)


def test_coordinates_of_a_network_name_the_tensor_first():
    rows = QueryTable("coordinates", SHAPES).rows()
    assert rows.shape == (19, 3)
    np.testing.assert_allclose(rows[:12, 0], -1)
    np.testing.assert_allclose(rows[-1], [1, -1, -1])


def test_one_hot_of_one_matrix_is_fletchers():
    rows = QueryTable("one-hot", [(4, 4)]).rows()
    wanted = np.zeros((16, 8))
    for i in range(16):
        wanted[i, i // 4] = wanted[i, 4 + i % 4] = 1
    np.testing.assert_array_equal(rows, wanted)


def test_binary_digits_are_signs():
    rows = QueryTable("binary", [(5, 3)]).rows()
    assert rows.shape == (15, 3 + 2)
    assert set(np.unique(rows)) == {-1.0, 1.0}
    np.testing.assert_array_equal(rows[4], [1, -1, -1, 1, -1])  # row 1, column 1


def test_sinusoidal_rows_have_one_length():
    rows = QueryTable("sinusoidal", [(40, 5)], width=12).rows()
    np.testing.assert_allclose((rows**2).sum(1), 6, rtol=1e-6)


def test_a_scale_multiplies_every_query():
    np.testing.assert_array_equal(
        QueryTable("binary", SHAPES, scale=0.25).rows(), 0.25 * QueryTable("binary", SHAPES).rows()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "projektion"}, "did you mean 'projection'"),
        ({"kind": "binary", "width": 7}, "not 7"),
        ({"kind": "sinusoidal", "width": 7}, "even"),
        ({"kind": "projection", "width": -1}, "-1"),
        ({"kind": "projection", "scale": 0.0}, "scale"),
        ({"kind": "projection", "scale": float("nan")}, "scale"),
    ],
)
def test_what_makes_no_table_is_said_in_one_line(arguments, message):
    with pytest.raises(TrunkError, match=message) as caught:
        QueryTable(arguments.pop("kind"), SHAPES, **arguments)
    assert "\n" not in str(caught.value)


def test_a_table_too_large_for_memory_is_refused_before_it_is_made():
    with pytest.raises(TooLarge, match="query table"):
        QueryTable("projection", [(1 << 10, 1 << 10)], width=1 << 10)
