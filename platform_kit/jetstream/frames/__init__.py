"""DataFrames in and out of streams: publish, read, read in chunks, export, replay."""
