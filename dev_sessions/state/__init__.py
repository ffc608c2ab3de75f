"""The state folder: what we have done, and what agents have reported."""
