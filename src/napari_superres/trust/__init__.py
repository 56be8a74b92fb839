"""How far a result can be trusted: figures, each with what it can and cannot see."""
