"""DICOM: a folder in (headers, choice of the series, dcm2niix), SEG and structured report out."""
