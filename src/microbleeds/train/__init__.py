"""Training of every network; needs the extra `microbleeds[train]` (torch, MONAI)."""
