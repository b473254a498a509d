"""What benchmarks/cards.py measures, a module a part."""
