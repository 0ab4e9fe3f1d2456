"""What a graph is worth: figures with intervals, of classes, of outlines, and of explanations."""
