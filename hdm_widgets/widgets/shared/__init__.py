"""What both explorers are made of."""
