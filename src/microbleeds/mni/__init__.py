"""Where a scan lies in MNI space: atlas of regions, template, registration."""
