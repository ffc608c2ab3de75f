"""What takes several operations of the client, and outlives the command that began it."""
