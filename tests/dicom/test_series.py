"""Headers sorted into volumes, whatever else lies beside them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pydicom

from microbleeds.dicom.series import read_volumes
from microbleeds.errors import UserError


def test_a_file_truncated_anywhere_is_passed_over(make, tmp_path):
    folder = make(pixels=np.zeros((4, 4, 4), np.uint16)).write(tmp_path / "scan")
    path = min(folder.iterdir())
    whole = path.read_bytes()
    for size in range(128, len(whole)):
        path.write_bytes(whole[:size])
        assert sum(len(volume.frames) for volume in read_volumes(folder)) in (3, 4)


def test_a_multi_frame_file_truncated_anywhere_is_passed_over(make, tmp_path):
    folder = make(pixels=np.zeros((4, 4, 4), np.uint16)).write_enhanced(tmp_path / "scan")
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for size in range(128, len(whole), 3):
        path.write_bytes(whole[:size])
        with suppress(UserError):  # that nothing is left
            read_volumes(folder)


def test_an_odd_private_element_of_ge_drops_no_frame(make, tmp_path):
    series = make()
    folder = series.write(tmp_path / "scan")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.add_new((0x0043, 0x0010), "LO", "GEMS_PARM_01")
        dataset.add_new((0x0043, 0x102F), "SS", [0, 1])
        dataset.save_as(path)
    (volume,) = read_volumes(folder)
    assert volume.kind == "magnitude" and len(volume.frames) == len(series.pixels)
