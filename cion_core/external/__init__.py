"""Tracklets and identities in other people's formats, and denoising on files of a user's own.

`command` is `cion denoise --crops`. `source` finds out which format is brought, and reads it with
the module for it: MOT text (`mot`; `mot_lines` reads one file), folders of images
(`image_folders`), crops tables (`crops_table`). `annotations` writes CION-AL's. `shared` is what
formats have in common.

What is read becomes a table of crops: crop, video, frame, tracklet, and what else is known. Row i
of a feature file belongs to the i-th row, line or image of the input, counted from 0. `crop` is
that number, except in a crops table, which has its own.

A new format is a module whose `read(path)` returns such a table. In `source` it has a name in
`Form`, a word in `COUNTED`, a place in `VALID`, and a branch in `read`; what is written for it is
decided in `command.write`. A format that leaves rows out must number what it keeps as the input
does, since features are paired by these numbers.
"""
