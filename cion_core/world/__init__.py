"""The demo world: rendered people, cameras and videos, with ground truth."""
