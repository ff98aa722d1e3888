"""The three denoising levels."""
