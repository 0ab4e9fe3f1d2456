"""The matrix form of the selective scan is the recurrence that it stands for."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [build] is not installed")

from models.build.networks.state_space import (  # noqa: E402 only with torch
    Direction,
    StateSpaceBlock,
    scan_both_ways,
)

IMAGES, HEADS, CHANNELS, STATE, CELLS = 2, 3, 4, 5, 40


def recurrence(
    values: torch.Tensor, keys: torch.Tensor, queries: torch.Tensor, way: Direction
) -> torch.Tensor:
    """Cell after cell, as the state-space model is defined."""
    state = values.new_zeros(IMAGES, HEADS, CHANNELS, STATE)
    results = []
    for cell in range(CELLS):
        step = way.steps[:, :, cell, None, None]
        added = values[..., cell, None] * keys[:, None, None, :, cell]
        state = torch.exp(-way.rates[:, None, None] * step) * state + step * added
        results.append((state * queries[:, None, None, :, cell]).sum(3))
    return torch.stack(results, 3)


def drawn(seed: int, largest_step: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def positive(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.01

    tensors = [normal(IMAGES, HEADS, CHANNELS, CELLS)]
    tensors += [normal(IMAGES, STATE, CELLS) for _ in range(2)]
    for _ in range(2):
        tensors += [positive(IMAGES, HEADS, CELLS) * largest_step, positive(HEADS) * 5]
    return tensors


@pytest.mark.parametrize("largest_step", [0.02, 1.0, 30.0])
def test_the_matrix_form_equals_the_sequential_recurrence(largest_step: float) -> None:
    values, keys, queries, *ways = drawn(0, largest_step)
    forth, back = Direction(*ways[:2]), Direction(*ways[2:])
    turned = (values.flip(3), keys.flip(2), queries.flip(2))
    expected = recurrence(values, keys, queries, forth)
    expected = expected + recurrence(*turned, back._replace(steps=back.steps.flip(2))).flip(3)
    given = scan_both_ways(values, keys, queries, forth, back)
    assert torch.allclose(given, expected, rtol=1e-9, atol=1e-9)


def test_strong_decay_over_many_cells_leaves_the_gradient_finite() -> None:
    """The half of the matrix that is cut off would be exp(30 x 5 x 40)."""
    tensors = [tensor.float().requires_grad_() for tensor in drawn(1, 30.0)]
    values, keys, queries, *ways = tensors
    scan_both_ways(
        values, keys, queries, Direction(*ways[:2]), Direction(*ways[2:])
    ).sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in tensors)


@pytest.mark.parametrize("by_columns", [False, True])
def test_a_block_scans_along_its_own_axis(by_columns: bool) -> None:
    """By columns is by rows on the transposed map."""
    torch.manual_seed(0)
    one, other = StateSpaceBlock(192, by_columns=by_columns), StateSpaceBlock(192, by_columns=False)
    other.load_state_dict(one.state_dict())
    other.near.weight.data = one.near.weight.data.transpose(2, 3) if by_columns else one.near.weight
    x = torch.randn(1, 192, 3, 5)
    with torch.inference_mode():
        given = one.eval()(x)
        expected = other.eval()(x.transpose(2, 3) if by_columns else x)
    assert torch.allclose(given, expected.transpose(2, 3) if by_columns else expected, atol=1e-5)


def test_every_cell_hears_of_every_other() -> None:
    torch.manual_seed(0)
    block = StateSpaceBlock(192, by_columns=False).eval()
    x = torch.randn(1, 192, 4, 4, requires_grad=True)
    for cell in ((0, 0), (3, 3)):
        (grad,) = torch.autograd.grad(block(x)[0, :, cell[0], cell[1]].square().sum(), x)
        assert (grad.abs().sum(dim=1) > 0).all()
