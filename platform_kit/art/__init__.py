"""Source art in a folder: watched, checked, made ready for use, packed into an atlas."""
