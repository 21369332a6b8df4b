"""How far a conversion is, how long its steps took, and how long it will take."""
