"""The soup: its arithmetic, its classes on planted networks, its published counts."""

import pytest
import torch

from neuralquine.evolution.soup import CLASSES, COUNT, SHAPES, Soup, answer, apply, classify, melt, queries, train

GENERATOR = torch.Generator


def networks(n=3):
    return torch.randn(n, COUNT, generator=GENERATOR().manual_seed(0)) * 0.5


def module(theta):
    """The same network out of torch's own layers."""
    net = torch.nn.Sequential(*[torch.nn.Linear(a, b, bias=False) for a, b in SHAPES])
    for layer, piece, shape in zip(net, theta.split([a * b for a, b in SHAPES]), SHAPES, strict=True):
        layer.weight.data = piece.reshape(shape).T.clone()
    return net


def copier(gain, shift=0.0):
    """Answers ``gain`` times the weight that it is shown: copies for 1, negates for -1."""
    theta = torch.zeros(COUNT)
    theta[0], theta[8], theta[12] = gain, 1.0, 1.0
    return theta + shift


def test_an_answer_is_that_of_the_same_network_in_torch():
    theta = networks()
    x = torch.randn(3, 5, 4, generator=GENERATOR().manual_seed(1))
    for row, asked, said in zip(theta, x, answer(theta, x), strict=True):
        torch.testing.assert_close(module(row)(asked)[:, 0], said)


def test_training_takes_the_steps_of_torchs_own_optimizer():
    theta = networks(1)
    x, y = queries(theta), theta
    trained = train(theta, x, y, GENERATOR().manual_seed(5))
    order = torch.rand(y.shape, generator=GENERATOR().manual_seed(5)).argsort(1)[0]
    net = module(theta[0])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for i in order:
        optimizer.zero_grad()
        (net(x[0, i]) - y[0, i]).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(torch.cat([layer.weight.T.flatten() for layer in net]), trained[0])
    assert (trained - theta).abs().max() > 1e-3


def test_planted_networks_get_their_classes():
    negator = copier(-1.0)
    planted = {
        "zero": torch.full((COUNT,), 1e-6),
        "fixed point": copier(1.0),
        "divergent": copier(1.0).index_fill(0, torch.tensor([3]), torch.nan),
        "other": copier(2.0),
    }
    found = classify(torch.stack(list(planted.values())), 1e-4)
    assert [CLASSES[k] for k in found] == list(planted)
    # one that returns after two applications and not after one: f(v) = -v on weights that F(theta; .) maps to and fro
    assert torch.allclose(apply(negator[None], negator[None]), -negator[None])
    assert CLASSES[int(classify(negator[None], 1e-4))] == "period 2"


def test_epsilon_is_the_difference_that_is_forgiven():
    near = copier(1.001)[None]
    gap = (apply(near, near) - near).abs().max()
    assert gap > 5e-4
    assert int(classify(near, float(gap) * 1.01)) == 2
    assert int(classify(near, float(gap) * 0.99)) != 2


def test_half_of_a_melted_network_is_each_parents():
    a, b = torch.zeros(4, COUNT), torch.ones(4, COUNT)
    assert melt(a, b, GENERATOR().manual_seed(0)).sum(1).tolist() == [COUNT // 2] * 4


def test_a_soup_without_events_stays_and_its_lineage_tells_the_melted():
    still = Soup(size=5, attack=0.0, train=0, replace=False)
    before = still.theta.clone()
    still.step()
    assert torch.equal(still.theta, before)
    soup = Soup(seed=1, size=30, attack=0.5, melt=0.5, learn=0.5, train=1)
    soup.step()
    parent, identity = soup.history["parent"][-1], soup.history["identity"][-1]
    melted = parent >= 0
    assert 5 < int(melted.sum()) < 25
    assert bool((identity[melted] >= 30).all())
    assert torch.equal(parent[melted], torch.arange(30)[melted])
    assert bool((soup.history["attacker"][-1] >= 0).any())


@pytest.mark.parametrize("seed", [0, 1])
def test_applied_to_themselves_networks_vanish_or_diverge_as_published(seed):
    soup = Soup(seed=seed, size=50, attack=0.0, train=0, applications=1, replace=False)
    for _ in range(100):
        soup.step()
        soup.age += 1
    counts = soup.counts()
    assert counts["divergent"] + counts["zero"] == 50  # published: 23 and 27
    assert 12 <= counts["divergent"] <= 34  # three standard deviations


def test_trained_on_themselves_they_approach_fixed_points():
    soup = Soup(size=20, attack=0.0, train=150, replace=False, epsilon=1e-2)
    loose = soup.counts()["fixed point"]
    soup.step()
    assert loose == 0
    assert soup.counts()["fixed point"] >= 10
