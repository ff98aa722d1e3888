"""Videos as they are: what each is, and its frames.

`cion list` finds the files of the source (`footage`) and hashes them (`cion_core.listing`). The
stage opens each in a worker process (`register`), writes what it is, and sets aside with a reason
what cannot be used; the demo world's videos are rendered first. Every other room reads videos
through `video`.
"""
