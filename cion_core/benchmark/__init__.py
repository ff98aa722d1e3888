"""Labelled sets for fine-tuning and evaluation.

`layouts` says how a set lies in folders, `labels` what its numbers mean here, `checks` what is
doubtful about one. The stage looks at every image once, and sets aside what is damaged.
"""
