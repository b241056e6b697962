"""The "Fine-tune model" widget."""
