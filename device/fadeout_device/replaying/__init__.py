"""Audio files through an ear and a vault of their own, and what came of them held against what should."""
