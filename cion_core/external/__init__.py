"""Tracklets and identities in other people's formats, and denoising on files of a user's own."""
