"""Models handed on: checks of weights, exports, features of images, search, and the zoo's table."""
