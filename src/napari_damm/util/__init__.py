"""What every other package may use: errors, files, locks, words, this machine's hardware."""
