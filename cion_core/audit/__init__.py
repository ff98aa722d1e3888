"""What denoising is worth, with truth and without; and why a crop is where it is.

`stage` scores each level by the truth. `planting` plants errors, and `planted_errors` counts what
became of them. `explain` tells a crop's way through the levels, in the words of `sentences`. The
files called `mot_...` are what trackers are worth on sequences with truth (`cion audit tracking`).
"""
