"""What is signed, and how: the payload of a record, Ed25519 keys and signatures."""
