"""What may be chosen, wherever it is chosen: here so that whoever asks need load nothing else."""

DEVICES = ("auto", "cpu", "cuda", "mps")
MAX_SEED = 2**64 - 1
