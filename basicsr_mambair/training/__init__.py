"""The run of a training: options in, BasicSR's loop through one adapter, interrupts, loaders."""
