"""The widget "Analyze nanoparticles": layers and regions to numbers, plots and a report."""
