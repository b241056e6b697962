"""Numbers from a particle map: how far particles travel from vessels, and how evenly.

1. `sources`, `opening`: what is measured, as a `particle_map` on one grid; `regions`: where.
2. `thresholds`, `vessels`, `distance`, `cells`: what is vessel, how far everything is from one,
   what each cell takes up.
3. `walk` adds up `counts` (with `profile` and `structures`) over tiles; `measures` turns them into
   numbers.
4. `agreement`: a predicted map against an imaged one; `groups`: animals and groups.
5. `run` drives it; `report`, `figures`, `page` and `writing` are what comes out.
"""
