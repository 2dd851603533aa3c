"""What the train loop trains: a network with its loss, behind one small interface."""
