"""Cards by FastStream and Pillow: see README.md beside this file."""
