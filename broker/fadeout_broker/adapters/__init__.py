"""What touches the outside: the vault's socket, paho, and the queue between threads."""
