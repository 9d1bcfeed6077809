"""What a training or a measurement will see: samples of a dataset, and a contact sheet of them."""
