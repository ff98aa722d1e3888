"""Linking across videos: the rules, and what they share."""
