"""Other ways of doing the same job, to be compared with."""
