"""A place in a scan: the whole slice it lies in, and three orthogonal close-ups."""

from __future__ import annotations

from microbleeds.report.box import Box, box_at, place_in_plane
from microbleeds.report.svg import drawing, edge_letters, slice_image, text
from microbleeds.report.view import BAR_MM, PLANES, SIDE_MM, Plane, View
from microbleeds.steps import Candidate

_PIXEL_MM = 0.25  # finer than the voxels of most scans
_SLICE_PIXEL_MM = 0.8
_TICK_MM = 3.0
_LEAST_GAP_MM = 2.5
_LEAST_RING_MM = 6.0


def slice_with_ring(view: View, candidate: Candidate, box: Box, name: str) -> str:
    """SVG picture of the scan's own slice through a candidate, which has a ring around it.

    box: what of the slice is shown. name: what the candidate is called, for the label.
    """
    plane = view.plane
    x, y = box.to_picture(*place_in_plane(view, plane, candidate.xyz_mm))
    radius = max(_LEAST_RING_MM, candidate.diameter_mm)
    parts = [
        slice_image(view, plane, view.level(plane, candidate.xyz_mm), box, _SLICE_PIXEL_MM),
        f'<g class="marks"><circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>',
        edge_letters(plane, box, 9.0),
        "</g>",
    ]
    return drawing(box, f"{name}, ringed in the whole {plane.name} slice", parts)


def close_ups(view: View, candidate: Candidate, name: str) -> tuple[str, str, str]:
    """SVG pictures, 30 mm wide, of the slices through a candidate: axial, coronal, sagittal.

    Along the scan's own axes. Four ticks point at the centre and leave it free.
    name: what the candidate is called, for the label.
    """
    axial, coronal, sagittal = (_close_up(view, candidate, plane, name) for plane in PLANES)
    return axial, coronal, sagittal


def _close_up(view: View, candidate: Candidate, plane: Plane, name: str) -> str:
    box = box_at(view, plane, candidate.xyz_mm)
    parts = [
        slice_image(view, plane, view.level(plane, candidate.xyz_mm), box, _PIXEL_MM),
        f'<g class="marks">{_ticks(SIDE_MM / 2, max(_LEAST_GAP_MM, candidate.diameter_mm))}',
        edge_letters(plane, box, 2.2),
        f'<path class="bar" d="M1.5 {SIDE_MM - 1.5}h{BAR_MM:g}"/>',
        text(f"{BAR_MM:g} mm", 1.5 + BAR_MM / 2, SIDE_MM - 3.2, 2.2),
        "</g>",
    ]
    return drawing(box, f"{name}, {plane.name} close-up, {SIDE_MM:g} mm wide", parts)


def _ticks(centre: float, gap: float) -> str:
    near, far = centre - gap - _TICK_MM, centre + gap
    return (
        f'<path class="ticks" d="M{near:.2f} {centre:g}h{_TICK_MM}M{far:.2f} {centre:g}h{_TICK_MM}'
        f'M{centre:g} {near:.2f}v{_TICK_MM}M{centre:g} {far:.2f}v{_TICK_MM}"/>'
    )
