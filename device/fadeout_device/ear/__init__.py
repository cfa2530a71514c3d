"""The ear: microphone, wake word, end of speech, outcome. Knows no key, no storage, no network."""
