"""How the bundled model is trained: sections, latents, steps, and what it is judged by."""
