"""What is going on now: legs, who they belong to, what of them is being recorded."""
