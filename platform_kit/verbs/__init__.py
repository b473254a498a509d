"""What one asks of a platform, by subject; the facade joins them."""
