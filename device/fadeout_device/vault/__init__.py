"""The vault: keys, storage, policy, clock, outbox. Knows no microphone, no network, no parser of audio."""
