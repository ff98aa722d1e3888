"""What denoising is worth, with truth and without; and why a crop is where it is."""
