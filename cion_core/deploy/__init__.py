"""Models handed on: the zoo's table, exports, features of images, search, and whether weights did anything."""
