"""The generic weights: they load, say what they were made from, and register images that they were not trained on."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from dlir.registration.model import checkpoint
from dlir.registration.model.model_settings import settings_of
from dlir.registration.model.phase_correlation import phase
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import Augment, TileStack, synthetic_pairs
from dlir.registration.training.pretrain import SHAPES, SPECIMENS, fingerprint, pretrain
from dlir.registration.training.pretraining_images import SIDE, pretraining_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unseen() -> TileStack:
    """Images that the generic weights were not trained on."""
    planes = [np.asarray(getattr(skimage.data, name)(), np.float32) for name in ("hubble_deep_field", "gravel")]
    planes = [(plane[..., 1] if plane.ndim == 3 else plane)[:500, :500] for plane in planes]
    tiles = torch.stack([torch.from_numpy((plane - plane.mean()) / plane.std()) for plane in planes])[:, None]
    return TileStack(tiles, torch.zeros_like(tiles))


def test_pretraining_images_are_repeatable_and_depend_on_the_seed() -> None:
    planes = list(pretraining_images(8, seed=3))
    assert all(plane.shape == (SIDE, SIDE) and plane.dtype == np.float32 for plane in planes)
    assert all(plane.min() >= 0 and plane.max() <= 1.5 and plane.std() > 0.01 for plane in planes)
    assert (
        fingerprint(planes)
        == fingerprint(list(pretraining_images(8, seed=3)))
        != fingerprint(list(pretraining_images(8, seed=4)))
    )


def test_the_generic_weights_load_and_say_what_they_were_made_from() -> None:
    assert checkpoint.GENERIC.stat().st_size < 2e6
    settings = settings_of(checkpoint.GENERIC)
    assert settings["sources_sha256"] == fingerprint(list(pretraining_images(SPECIMENS, settings["seed"])))
    checkpoint.load(checkpoint.GENERIC, torch.device("cpu"))


@torch.no_grad()
def test_the_generic_weights_register_unseen_images(unseen: TileStack) -> None:
    model = checkpoint.load(checkpoint.GENERIC, torch.device("cpu"))
    noisy = Augment(noise=(1.0, 1.01), zoom=(1.0, 1.0), dirt=0.0)
    errors, classical = [], []
    for shape in SHAPES:
        known = synthetic_pairs(unseen, shape, 32, torch.Generator().manual_seed(5), noisy)
        for method, found in ((model, errors), (phase, classical)):
            affine = method(known.fixed, known.moving, shape.search, shape.centre).affine
            found.append(corner_error(affine, known.affine, shape.height, shape.width))
    assert torch.cat(errors).median() < 0.35
    assert (torch.cat(errors) > 2).float().mean() < 0.03
    assert torch.cat(classical).median() > 4 * torch.cat(errors).median()


def test_pretraining_is_repeatable(tmp_path: Path) -> None:
    for name in ("first", "second"):
        pretrain(tmp_path / f"{name}.pt", steps=2, judging=2, batch=2, device="cpu")
    first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("first", "second"))
    assert settings_of(tmp_path / "first.pt") == settings_of(tmp_path / "second.pt") != {}
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])


def test_pretraining_starts_from_the_mean_of_several_models(tmp_path: Path) -> None:
    made = [tmp_path / f"{seed}.pt" for seed in (1, 2)]
    for seed, path in enumerate(made, 1):
        pretrain(path, steps=0, judging=0, seed=seed, device="cpu")
    pretrain(tmp_path / "both.pt", start=made, steps=0, judging=0, device="cpu")
    first, second, both = (torch.load(path, weights_only=True) for path in (*made, tmp_path / "both.pt"))
    assert settings_of(tmp_path / "both.pt")["start"] == [settings_of(path) for path in made]
    name = "encoder.stem.weight"
    assert not torch.equal(first["weights"][name], second["weights"][name])
    torch.testing.assert_close(both["weights"][name], (first["weights"][name] + second["weights"][name]) / 2)
