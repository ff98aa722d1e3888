"""From videos to tracklets.

`stage` hands the videos out to worker processes. In each of these `video_crops` makes the crops of
one video: `shots` finds where it is cut, a detector (`detectors`) finds people, a tracker
(`trackers`) joins them, `album` takes their crops, `faces` blurs faces, and `selection` keeps what
shows enough. `results` puts all videos together.
"""
