"""From the names and shapes of published networks to ours, and back."""
