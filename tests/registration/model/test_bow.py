import numpy as np
import pytest
import torch
from support.specimens import Specimen

from dlir.registration.model.bow import bow


@pytest.mark.parametrize(("height", "width"), [(48, 200), (200, 48)])
def test_the_bow_is_that_of_the_windows(height: int, width: int) -> None:
    """An affine in addition does not change it."""
    specimen, true = Specimen(3), np.array([0.4, -0.3])
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    along = (x if width > height else y) / max(height, width) * 2
    bent = np.stack([y, x], -1) + along[..., None] ** 2 * true + 0.002 * np.stack([x, y], -1) + [0.1, -0.05]
    fixed, moving = (
        torch.from_numpy(specimen(places).astype(np.float32))[None, None] for places in (np.stack([y, x], -1), bent)
    )
    # what lies at p in the fixed window lies at p less the displacement in the moving one
    found = bow(fixed, moving, torch.ones_like(fixed))[0].numpy()
    np.testing.assert_allclose(found, -true, atol=0.03)


def test_noise_has_no_bow_in_common() -> None:
    generator = torch.Generator().manual_seed(1)
    shared = torch.from_numpy(np.stack([Specimen(seed)(np.stack(np.mgrid[:40, :120], -1)) for seed in range(40)]))
    windows = [(shared + 0.3 * torch.randn(shared.shape, generator=generator)).float()[:, None] for _ in range(2)]
    found = bow(*windows, torch.ones_like(windows[0])).numpy()
    assert np.abs(found.mean(axis=0)).max() < 4 * found.std() / np.sqrt(len(found))
