"""What is needed of a database, whatever kind it is: values and small protocols, in no engine's words."""
