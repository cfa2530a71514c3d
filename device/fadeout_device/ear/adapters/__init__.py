"""What the ear touches: sound cards, audio files, the wake-word engine, the vault's socket."""
