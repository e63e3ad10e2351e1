"""The correlation network: it registers untrained, and its answers follow the geometry of the windows."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from support.specimens import crops

from dlir.registration.model import checkpoint
from dlir.registration.model.estimate import Method
from dlir.registration.model.filters import blur
from dlir.registration.model.network import CorrelationNetwork
from dlir.registration.model.noise_filter import alignment_ncc
from dlir.registration.model.warping import corner_error

TRUE = np.array([[1.002, 0.006, 5.3], [-0.006, 1.001, -7.6]])


@pytest.fixture(scope="module")
def model() -> CorrelationNetwork:
    torch.manual_seed(3)
    return CorrelationNetwork().eval()


@pytest.fixture(scope="module")
def generic() -> Method:
    """The network with the weights of the package."""
    method: Method = checkpoint.load(checkpoint.GENERIC, torch.device("cpu"))
    return method


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As on a CPU, where each thread registers pairs of its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def swapped(affine: torch.Tensor) -> torch.Tensor:
    """The affines with y and x exchanged."""
    return affine.flip(1)[:, :, [1, 0, 2]]


@torch.no_grad()
def test_an_untrained_network_registers_clean_pairs(model: CorrelationNetwork) -> None:
    fixed, moving = crops(TRUE, 64, 256)
    error = corner_error(model(fixed, moving, 12.0).affine, torch.tensor(TRUE).float().expand(4, 2, 3), 64, 256)
    assert (error < 0.5).all()


@torch.no_grad()
def test_identical_windows_give_the_identity(generic: Method) -> None:
    fixed, _ = crops(TRUE, 64, 256)
    estimate = generic(fixed, fixed, 12.0, (0.0, 0.0))
    assert (corner_error(estimate.affine, torch.eye(2, 3).expand(4, 2, 3), 64, 256) < 0.02).all()
    assert (estimate.confidence > 0.5).all()


@torch.no_grad()
def test_exchanging_fixed_and_moving_inverts_the_affine(generic: Method) -> None:
    fixed, moving = crops(TRUE, 64, 256)
    forward, backward = (generic(*pair, 12.0, (0.0, 0.0)).affine for pair in ((fixed, moving), (moving, fixed)))
    linear = backward[:, :, :2] @ forward[:, :, :2]
    both = torch.cat([linear, backward[:, :, :2] @ forward[:, :, 2:] + backward[:, :, 2:]], -1)
    assert (corner_error(both, torch.eye(2, 3).expand(4, 2, 3), 64, 256) < 0.05).all()


@torch.no_grad()
def test_windows_along_y_register_like_the_same_windows_along_x(model: CorrelationNetwork) -> None:
    fixed, moving = crops(TRUE, 64, 256)
    along_x, along_y = model(fixed, moving, 12.0), model(fixed.mT, moving.mT, 12.0)
    torch.testing.assert_close(swapped(along_y.affine), along_x.affine)
    order = ["yy", "yx", "y0", "xy", "xx", "x0"]
    exchanged = [order.index(name.translate(str.maketrans("xy", "yx"))) for name in order]
    torch.testing.assert_close(along_y.covariance[:, exchanged][:, :, exchanged], along_x.covariance)


@torch.no_grad()
def test_gain_and_offset_change_nothing(model: CorrelationNetwork) -> None:
    fixed, moving = crops(TRUE, 64, 256)
    plain, changed = model(fixed, moving, 12.0), model(fixed * 3 + 5, moving * 0.5 - 2, 12.0)
    assert (corner_error(plain.affine, changed.affine, 64, 256) < 0.01).all()


@torch.no_grad()
def test_the_search_lies_around_the_expected_shift(model: CorrelationNetwork) -> None:
    far = TRUE + np.array([[0, 0, -24.0], [0, 0, 0]])
    fixed, moving = crops(far, 64, 256)
    estimate = model(fixed, moving, 8.0, (-19.0, -7.0))
    assert (corner_error(estimate.affine, torch.tensor(far).float().expand(4, 2, 3), 64, 256) < 0.7).all()


@torch.no_grad()
def test_flat_windows_give_finite_estimates(model: CorrelationNetwork) -> None:
    estimate = model(torch.zeros(2, 1, 32, 64), torch.zeros(2, 1, 32, 64), 8.0)
    assert all(torch.isfinite(part).all() for part in (estimate.affine, estimate.covariance, estimate.confidence))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@torch.no_grad()
def test_a_gpu_gives_the_affines_of_the_cpu() -> None:
    fixed, moving = crops(TRUE, 64, 256, noise=5.0)
    places = torch.device("cpu"), checkpoint.choose_device("cuda")
    with checkpoint.full_precision():
        found = [checkpoint.load(checkpoint.GENERIC, p)(fixed.to(p), moving.to(p), 12.0).affine.cpu() for p in places]
    assert (corner_error(*found, 64, 256) < 0.01).all()


@torch.no_grad()
def test_half_precision_changes_the_features_little() -> None:
    """The network trains in half precision on a GPU; the CPU can do the same."""
    fixed, _ = crops(TRUE, 64, 256)
    encoder = checkpoint.load(checkpoint.GENERIC, torch.device("cpu")).encoder
    exact = encoder(fixed, fixed)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(fixed, fixed)
    for first, second in zip(exact, rough, strict=True):
        assert (first - second).std() < 0.03 * first.std()


@torch.no_grad()
def test_noise_matches_best_at_small_overlaps_no_more_often_than_by_chance(generic: Method) -> None:
    """Crops of noise match nowhere. Of all shifts in the window, a third leave less than half of the crops to overlap."""
    torch.manual_seed(0)
    fixed, moving = blur(torch.randn(2 * 96, 1, 48, 160), 2.0).chunk(2)
    shift = generic(fixed, moving, 32.0, (0.0, 0.0)).affine[:, :, 2].abs()
    overlap = (1 - shift / torch.tensor([48, 160])).prod(dim=1)
    assert 0.1 < (overlap < 0.5).float().mean() < 0.36


@torch.no_grad()
def test_the_deviation_grows_with_the_noise_as_the_errors_do(generic: Method) -> None:
    squares = []
    for noise in (2.0, 20.0):
        fixed, moving = crops(TRUE, 48, 160, range(24), noise)
        estimate = generic(fixed, moving, 16.0, (4.0, -8.0))
        error = estimate.affine[:, :, 2] - torch.tensor(TRUE[:, 2]).float()
        squares.append((error**2 / estimate.covariance.diagonal(dim1=1, dim2=2)[:, [2, 5]]).median())
    assert 0.5 < squares[1] / squares[0] < 2


def test_blind_parts_of_the_windows_do_not_hide_a_match(generic: Method) -> None:
    """Round fields: the corners of both windows show the same pattern of the camera, and not the specimen."""
    fixed, moving = crops(np.array([[1.0, 0, 3.0], [0, 1.0, -5.0]]), 96, 256)
    y, x = torch.meshgrid(torch.arange(96) - 47.5, torch.arange(256) - 127.5, indexing="ij")
    shown = ((y / 40) ** 2 + (x / 80) ** 2 < 1).float().expand(len(fixed), 1, -1, -1)
    pattern = torch.as_tensor(np.random.default_rng(4).standard_normal((1, 1, 96, 256)), dtype=torch.float32)
    pattern = blur(pattern, 3.0)
    fixed, moving = (window * shown + 2 * pattern / pattern.std() * (1 - shown) for window in (fixed, moving))
    masked = generic(fixed, moving, 16.0, shown=(shown, shown))
    assert (masked.affine[:, :, 2] - torch.tensor([3.0, -5.0])).abs().max() < 0.1
    assert masked.confidence.min() > 0.9
    clear = masked.clear
    assert clear is not None
    counted, everything = (alignment_ncc(*clear, masked.affine, shown=parts) for parts in ((shown, shown), None))
    assert counted.min() > 0.9 > everything.max()


@pytest.mark.parametrize("size", [(16, 16), (16, 64), (32, 48), (40, 72), (64, 256)])
@pytest.mark.parametrize("blind", [False, True])
@torch.no_grad()
def test_an_estimate_is_the_same_to_the_last_bit_beside_other_pairs(
    generic: CorrelationNetwork, size: tuple[int, int], blind: bool, one_thread: None
) -> None:
    fixed, moving = (torch.cat([windows, windows.flip(0) + windows.roll(1, 0)]) for windows in crops(TRUE, *size))
    shown = (torch.ones_like(fixed), torch.ones_like(fixed)) if blind else None

    def answers(start: int, end: int) -> list[torch.Tensor]:
        part = shown and (shown[0][start:end], shown[1][start:end])
        found = generic(fixed[start:end], moving[start:end], 8.0, (0.0, 0.0), 0.01, part)
        return [found.affine, found.covariance, found.confidence, found.logits, *found.clear]

    together = answers(0, len(fixed))
    for count in range(1, len(fixed)):
        for start in {0, 1, len(fixed) - count}:
            alone = answers(start, start + count)
            assert all(torch.equal(one, every[start : start + count]) for one, every in zip(alone, together, strict=True))
