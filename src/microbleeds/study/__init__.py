"""More than one scan: two visits of a patient compared."""
