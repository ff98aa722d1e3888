"""What denoising is worth: scores with truth, planted errors without; and why a crop is where it is."""
