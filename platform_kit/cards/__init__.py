"""Cards: the deck, the template, the run that turns one with the other into pictures, and its sheets."""
