"""Tracklets and identities in other people's formats, and denoising on files of a user's own.

One module for each format: MOT text (`mot`), folders of images (`image_folders`), crops tables
(`crops_table`), CION-AL's annotations (`annotations`). `source` finds out which one is brought,
and `command` is `cion denoise --crops`.

What is read becomes a table of crops: crop, video, frame, tracklet, and what else is known. Its
`crop` is the number of the line or image in the input, from 0, but a crops table says its own: a
feature file has its rows in the order of the input.
"""
