import nibabel as nib
import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.train.heads import Pair, draw, load_source, read_brain_table


def table(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def pair_files(tmp_path):
    """An oblique image with a bright ball, 1 x 1 x 3 mm, and the ball as its mask."""
    axes = np.indices((60, 60, 20)).transpose(1, 2, 3, 0) * (1, 1, 3)
    ball = np.linalg.norm(axes - (30, 30, 30), axis=-1) < 20
    affine = np.diag([-1.0, 1, 3, 1])
    image = np.where(ball, 100, 20).astype(np.float32)
    nib.save(nib.Nifti1Image(image, affine), tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(ball.astype(np.uint8), affine), tmp_path / "m.nii.gz")
    return table(tmp_path / "t.csv", "image,mask", "a.nii.gz,m.nii.gz")


def test_rows_are_anatomies_or_pairs(pair_files, tmp_path):
    (tmp_path / "map.nii.gz").touch()
    mixed = table(
        tmp_path / "x.csv", "anatomy,image,mask,subject", "map.nii.gz,,,", ",a.nii.gz,m.nii.gz,s7"
    )
    first, second = read_brain_table(mixed)
    assert (first.subject, first.anatomy) == ("map", tmp_path / "map.nii.gz")
    assert (second.subject, second.image, second.anatomy) == ("s7", tmp_path / "a.nii.gz", None)


def test_all_heads_of_a_person_are_one_subject(tmp_path):
    names = ("sub-01_ses-1_aseg.nii.gz", "sub-01_ses-2_aseg.nii.gz")
    for name in names:
        (tmp_path / name).touch()
    rows = read_brain_table(table(tmp_path / "x.csv", "anatomy", *names))
    assert [row.subject for row in rows] == ["sub-01", "sub-01"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["anatomy", "gone.nii.gz"], "Line 2.*gone.nii.gz"),
        (["anatomy"], "no rows"),
        (["image,label", "t.csv,t.csv"], "Line 2.*neither"),
    ],
)
def test_wrong_tables_are_explained(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read_brain_table(table(tmp_path / "t.csv", *lines))
    with pytest.raises(UserError, match="cannot be read"):
        read_brain_table(tmp_path / "absent.csv")


def test_pair_comes_on_the_grid_of_the_network(pair_files):
    pair = load_source(read_brain_table(pair_files)[0])
    assert isinstance(pair, Pair) and pair.image.shape == pair.mask.shape
    volume = pair.mask.sum() * 2.5**3
    assert volume == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.05)
    assert pair.image[pair.mask].mean() > 4 * pair.image[~pair.mask].mean()


@pytest.mark.parametrize("shape", [(16, 32, 16), (48, 48, 48)])
def test_draws_of_a_pair_are_windows_around_the_mask(pair_files, shape):
    pair = load_source(read_brain_table(pair_files)[0])
    draws = [draw(pair, shape, np.random.default_rng(seed)) for seed in range(6)]
    for image, mask in draws:
        assert image.shape == mask.shape == shape and mask.any()
        assert image[mask].min() > image[~mask].mean()
    assert len({image.tobytes() for image, _ in draws}) > 1
