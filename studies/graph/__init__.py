"""What a graph encoder loses on fields that were fitted from random weights."""
