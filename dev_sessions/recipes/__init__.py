"""Tasks that take several operations of the client; an interrupted one can be resumed by a later command."""
