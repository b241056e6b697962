"""The "Predict nanoparticles" widget."""
