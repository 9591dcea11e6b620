"""The networks, their files and cards, and the engine that runs them."""
