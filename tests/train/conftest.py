"""Five small heads on disk: even tissue in noise with dark balls, and the balls as labels."""

import csv

import nibabel as nib
import numpy as np
import pytest
import torch

from microbleeds.models.config import NetworkConfig
from microbleeds.settings import PrepareSettings
from microbleeds.train import crossval
from microbleeds.train.augment import AugmentSettings
from microbleeds.train.complete import train_all
from microbleeds.train.crossval import cross_validate
from microbleeds.train.data import read_table
from microbleeds.train.loop import TrainSettings
from microbleeds.train.settings import Recipe, Work

SHAPE, SPACING = (44, 40, 12), (0.5, 0.5, 2.0)
SHORT = TrainSettings(
    steps=4, batch=2, warmup=2, save_every=2, validate_every=4, average=0.5, threads=1
)
RECIPE = Recipe(
    network=NetworkConfig(3, (4, 8), ((2, 2, 1),), (12, 12, 4)),
    prepare=PrepareSettings(margin_mm=1.0),
    detector_loss="published",
    detector_patch=(16, 16, 8),
    augmentation=AugmentSettings(),
    detector=SHORT,
    teacher=SHORT,
    student=SHORT,
    validation=0.2,
)


def write_head(folder, name, centres, seed):
    """Image, label (one number a ball) and mask; centres in voxels."""
    rng = np.random.default_rng(seed)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-10, -12, 30)
    axes = np.indices(SHAPE).transpose(1, 2, 3, 0)
    middle = np.array(SHAPE) / 2
    brain = (((axes - middle + 0.5) / (middle - 2)) ** 2).sum(-1) < 1
    image = np.where(brain, 500 + 20 * rng.standard_normal(SHAPE), 0)
    label = np.zeros(SHAPE, np.uint8)
    for number, centre in enumerate(centres, 1):
        label[np.linalg.norm((axes - centre) * SPACING, axis=-1) <= 1.5] = number
    image[label > 0] = 60
    for suffix, array in (("T2starw", image), ("label", label), ("mask", brain)):
        path = folder / f"{name}_{suffix}.nii.gz"
        nib.save(nib.Nifti1Image(array.astype(np.int16), affine), path)


def write_table(path, names, **columns):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "contrast", "mask", "subject"])
        for name in names:
            files = [f"{name}_{suffix}.nii.gz" for suffix in ("T2starw", "label", "mask")]
            writer.writerow([files[0], files[1], "t2star", files[2], name])


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def heads(tmp_path_factory):
    """Folder with `table.csv`; two balls in each head."""
    folder = tmp_path_factory.mktemp("heads")
    names = [f"sub-{number}" for number in range(5)]
    for number, name in enumerate(names):
        write_head(folder, name, [(14, 20, 5), (26 + number, 18, 7)], seed=number)
    write_table(folder / "table.csv", names)
    return folder


@pytest.fixture(scope="session")
def rows(heads):
    return read_table(heads / "table.csv")


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    return Work(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def recipe():
    return RECIPE


@pytest.fixture(scope="session")
def crossed(rows, recipe, work, tmp_path_factory):
    """Two-fold cross-validation, killed once in the second fold: (folder, subjects trained on)."""
    out = tmp_path_factory.mktemp("crossed")
    trained = []

    def watching(others, *rest):
        trained.append({row.subject for row in others})
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train_all(others, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossval, "train_all", watching)
        with pytest.raises(KeyboardInterrupt):
            cross_validate(rows, out, 2, recipe, work)
        assert cross_validate(rows, out, 2, recipe, work)
    return out, trained
