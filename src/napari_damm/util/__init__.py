"""What every other package may use: errors and advice, files, locks, words; tiling and measures."""
