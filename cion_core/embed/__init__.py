"""Features of images: weight-free stripes, or any model of the zoo."""
