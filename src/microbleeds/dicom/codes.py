"""The codes that the DICOM results use, each from pydicom's dictionary of the standard.

That dictionary has none for "cerebral microbleed". A haemorrhage in the brain is the nearest
that the standard's context groups for segments hold; the segment's label says the rest.
"""

from __future__ import annotations

from pydicom.sr.codedict import codes

CATEGORY = codes.SCT.MorphologicallyAbnormalStructure  # CID 7150
FINDING = codes.SCT.Hemorrhage  # CID 7151
SITE = codes.SCT.Brain  # CID 4
PROCEDURE = codes.LN.BrainMRI  # CID 646
COUNT = codes.SCT.NumberOfLesions
VOLUME = codes.SCT.Volume  # CID 7472
CERTAINTY = codes.DCM.CertaintyOfFinding  # CID 6048
CENTRE = codes.DCM.CenterOfMass  # CID 219
FAMILY = codes.DCM.ArtificialIntelligence  # CID 7162
DEVICE = codes.DCM.Device  # CID 270
MM3, PERCENT, NO_UNIT = codes.UCUM.CubicMillimeter, codes.UCUM.Percent, codes.UCUM.NoUnits
